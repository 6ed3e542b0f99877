/** Which finding of a study stands out, and on which image. Pure, and read before the rest of the page is there. */
import type { Finding, Job } from "../api/client";

export const bySuspicion = (findings: Finding[]) => findings.toSorted((a, b) => b.margin - a.margin);
export const mostSuspicious = (findings: Finding[]): Finding | undefined => bySuspicion(findings)[0];

/** The place of the image with the highest probability of a finding: the study's is that image's. */
export function decisiveImage(job: Job, finding: Finding | undefined): number {
  const each = job.images.map(
    ({ findings }) => findings.find((one) => one.finding === finding?.finding)?.probability ?? -1,
  );
  return each.indexOf(Math.max(...each));
}
