/** Jobs of the own tenant and of the open API, which differ only in their address. */
import { type QueryClient, queryOptions, skipToken, useQuery } from "@tanstack/react-query";
import { apiPath, type JobRef } from "./addresses";
import { api, type Job, type JobSummary, Problem, request, unwrap } from "./client";
import { early } from "./early";
import { rowKey, useLive } from "./events";

const FINAL = new Set(["succeeded", "failed", "cancelled"]);
export const isFinal = (job?: { state: string }) => job !== undefined && FINAL.has(job.state);
/** Deleted, or of another tenant: what is cached of it must not be shown any longer. */
export const isNotFound = (error: unknown) => error instanceof Problem && error.status === 404;

export const jobQuery = (ref: JobRef) =>
  queryOptions({
    queryKey: ["job", ref.kind, ref.key],
    queryFn: async () =>
      (await early<Job>(apiPath(ref))) ?? ((await request(apiPath(ref))).json() as Promise<Job>),
  });

/** A job. The stream tells of changes to an own one; one of the open API is asked for. */
export function useJob(ref: JobRef) {
  const live = useLive() && ref.kind === "studies";
  return useQuery({
    ...jobQuery(ref),
    refetchInterval: ({ state }) =>
      isFinal(state.data) || isNotFound(state.error) ? false : live ? 20_000 : 1_000,
  });
}

/** What the upload list says of a job: an own one as the stream sends it. */
export function useRow(ref: JobRef): JobSummary | Job | undefined {
  const live = useLive() && ref.kind === "studies";
  const row = useQuery<JobSummary>({ queryKey: rowKey(ref.key), enabled: false, queryFn: skipToken }).data;
  const job = useQuery({
    ...jobQuery(ref),
    enabled: !live,
    refetchInterval: ({ state }) => (isFinal(state.data) ? false : 2_000),
  }).data;
  return live ? (row ?? job) : job;
}

/** Cancels an open job, deletes one that has ended. With `only` the other of the two is refused (409). */
export const deleteJob = (ref: JobRef, only?: "cancel" | "erase") =>
  request(`${apiPath(ref)}${only ? `?only=${only}` : ""}`, { method: "DELETE" });

export const retryJob = (ref: JobRef) => request(`${apiPath(ref)}/retry`, { method: "POST" });

/** The new job. */
export const analyseAgain = async (ref: JobRef): Promise<Job> =>
  (await request(`${apiPath(ref)}/analyse`, { method: "POST" })).json();

/** Drops what is cached of a deleted job. */
export function dropFromCache(client: QueryClient, { kind, key }: JobRef, { images }: Job): void {
  client.removeQueries({ queryKey: ["job", kind, key] });
  for (const { id } of images)
    for (const what of ["pixels", "heatmap"]) client.removeQueries({ queryKey: [what, id] });
}

/** Where the contour of a finding's heatmap is drawn, as a share of its scale; the middle where the bundle says nothing. */
export const cutOf = ({ map_scale }: Job, finding = ""): number =>
  (map_scale?.cuts as Record<string, number> | undefined)?.[finding] ?? 0.5;

/** What is said of a job with `superseded_by`. */
export const SUPERSEDED = "A later result of this study supersedes this one.";

/** What a result lacks, a sentence each. */
export function caveats({ state, missing_backbones, images }: Job): string[] {
  const sentences: string[] = [];
  if (missing_backbones.length)
    sentences.push(
      `Analysed without ${missing_backbones.join(", ")}: the ensemble is weaker, and its accuracy was not measured.`,
    );
  const done = images.filter((image) => image.state !== "failed").length;
  if (state === "succeeded" && done < images.length)
    sentences.push(`${images.length - done} of ${images.length} images could not be analysed.`);
  return sentences;
}

/** Earlier studies of the same patient. */
export function usePriors(id: string) {
  return useQuery({
    queryKey: ["priors", id],
    queryFn: () => unwrap(api.GET("/v1/jobs/{job_id}/priors", { params: { path: { job_id: id } } })),
  });
}
