/** What a study's view needs, fetched side by side and before it is drawn: its code, the job, the image. */
import type { QueryClient } from "@tanstack/react-query";
import { csrfToken, type Job } from "../api/client";
import { type JobRef, jobQuery } from "../api/jobs";
import { decisiveImage, mostSuspicious } from "../findings/reading";
import { decoderAhead, pixelsQuery } from "../viewer/load";

export function studyCode() {
  void import("../viewer/viewer").catch(() => undefined); // whoever shows it is told
  return import("./study");
}

const OF_STUDY = /^\/(studies|open)\/([^/]+)$/;

/**
 * For an address of the page that somebody opens or is about to open. It counts as a look at the result. Settles, never
 * badly, once the view can be drawn and its image is on its way; at once where there is nothing to fetch.
 */
export async function studyAhead(client: QueryClient, path: string): Promise<void> {
  const [, kind, key] = OF_STUDY.exec(path) ?? [];
  if (!key || (kind === "studies" && !csrfToken())) return;
  decoderAhead();
  const job = client.fetchQuery(jobQuery({ kind, key } as JobRef)).then(imageAhead);
  await Promise.allSettled([studyCode(), job]); // the view says what is wrong

  function imageAhead(job: Job) {
    const image = job.images[decisiveImage(job, mostSuspicious(job.study.findings))];
    if (image && image.state !== "failed") void client.prefetchQuery(pixelsQuery(image));
  }
}
