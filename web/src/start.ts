/**
 * Runs first, before the page's own code is there: its styles, and what the address needs of the API. So a study's
 * image is on its way while that code is still being read.
 */
import "@fontsource-variable/inter/wght.css";
import "./ui/base.css";
import "./ui/controls.css";
import "./ui/views.css";
import "./report/print.css";
import { apiPath, jobAt, ME } from "./api/addresses";
import type { Job } from "./api/client";
import { csrfToken } from "./api/csrf";
import { askEarly } from "./api/early";
import { decisiveImage, mostSuspicious } from "./findings/order";
import { applyTheme } from "./theme";
import { decoderAhead } from "./viewer/decoder";

applyTheme();
const session = csrfToken() !== "";
const job = jobAt(location.pathname);
if (job && (session || job.kind === "open")) {
  void askEarly<Job>(apiPath(job)).then(imageEarly);
  decoderAhead();
}
if (session) void askEarly(ME);
void import("./main");

/** The browser hands what it has preloaded to the first request for it. */
function imageEarly(job: Job | undefined) {
  const image = job?.images[decisiveImage(job, mostSuspicious(job.study.findings))];
  if (!image || image.state === "failed" || !image.links.original) return;
  const link = document.createElement("link");
  document.head.append(
    Object.assign(link, {
      rel: "preload",
      as: "fetch",
      crossOrigin: "anonymous",
      href: image.links.original,
    }),
  );
}
