/** What a study's view needs, fetched side by side and before it is drawn: its code, the job, the image. */
import type { QueryClient } from "@tanstack/react-query";
import { jobAt } from "../api/addresses";
import type { Job } from "../api/client";
import { csrfToken } from "../api/csrf";
import { jobQuery } from "../api/jobs";
import { decisiveImage, mostSuspicious } from "../findings/order";
import { later } from "../ui/later";
import { decoderAhead } from "../viewer/decoder";
import { pixelsQuery } from "../viewer/load";

export const Study = later(async () => (await import("./study")).Study);

/**
 * For an address of the page that somebody opens or is about to open. It counts as a look at the result. Settles, never
 * badly, once the view can be drawn and its image is on its way; at once where there is nothing to fetch.
 */
export async function studyAhead(client: QueryClient, path: string): Promise<void> {
  const ref = jobAt(path);
  if (!ref || (ref.kind === "studies" && !csrfToken())) return;
  decoderAhead();
  const job = client.fetchQuery(jobQuery(ref)).then(imageAhead);
  await Promise.allSettled([Study.ahead(), job]); // the view says what is wrong

  function imageAhead(job: Job) {
    const image = job.images[decisiveImage(job, mostSuspicious(job.study.findings))];
    if (image && image.state !== "failed") void client.prefetchQuery(pixelsQuery(image));
  }
}
