/** Jobs of the own tenant and of the open API, which differ only in their address. */
import { type QueryClient, queryOptions, useQuery, useQueryClient } from "@tanstack/react-query";
import { useEffect, useState } from "react";
import { api, type Job, Problem, request, unwrap } from "./client";

/** A job of the signed-in tenant by its id, or one of the open API by its secret link. */
export type JobRef = { kind: "studies" | "open"; key: string };

const ADDRESSES = { studies: "/v1/jobs", open: "/v1/anonymous/jobs" };
const apiPath = ({ kind, key }: JobRef) => `${ADDRESSES[kind]}/${key}`;
/** Where the page shows it. */
export const viewPath = ({ kind, key }: JobRef) => `/${kind}/${key}`;
export const ownJob = (id: string): JobRef => ({ kind: "studies", key: id });
/** The job that a link of the API leads to. */
export function jobRefOf(self: string): JobRef {
  const key = self.slice(self.lastIndexOf("/") + 1);
  return { kind: self.startsWith(ADDRESSES.open) ? "open" : "studies", key };
}

const FINAL = new Set(["succeeded", "failed", "cancelled"]);
export const isFinal = (job?: { state: string }) => job !== undefined && FINAL.has(job.state);
/** Deleted, or of another tenant: what is cached of it must not be shown any longer. */
export const isNotFound = (error: unknown) => error instanceof Problem && error.status === 404;

export const jobQuery = (ref: JobRef) =>
  queryOptions({
    queryKey: ["job", ref.kind, ref.key],
    queryFn: async (): Promise<Job> => (await request(apiPath(ref))).json(),
  });

/** A job, followed by server-sent events until it ends; by polling where those can't be had (or `live` is off). */
export function useJob(ref: JobRef, live = true) {
  const [streaming, setStreaming] = useState(false);
  const client = useQueryClient();
  const { queryKey } = jobQuery(ref);
  const query = useQuery({
    ...jobQuery(ref),
    refetchInterval: ({ state }) =>
      isFinal(state.data) || isNotFound(state.error) ? false : streaming ? 20_000 : 1_500,
  });
  const open = query.data !== undefined && !isFinal(query.data) && !isNotFound(query.error);
  const path = apiPath(ref);
  useEffect(() => {
    if (!open || !live) return;
    const source = new EventSource(`${path}/events`);
    source.onopen = () => setStreaming(true);
    source.onerror = () => setStreaming(false); // the browser reconnects, and polling covers the gap
    source.addEventListener("job", (event) => {
      const news = JSON.parse(event.data) as Partial<Job>;
      client.setQueryData<Job>(queryKey, (job) => job && { ...job, ...news, state: job.state });
      if (news.state !== "queued" || news.progress?.done) void client.invalidateQueries({ queryKey });
    });
    source.addEventListener("erased", () => client.invalidateQueries({ queryKey }));
    return () => {
      source.close();
      setStreaming(false);
    };
  }, [path, open, live]);
  return query;
}

/** Cancels an open job, deletes one that has ended. With `only` the other of the two is refused (409). */
export const deleteJob = (ref: JobRef, only?: "cancel" | "erase") =>
  request(`${apiPath(ref)}${only ? `?only=${only}` : ""}`, { method: "DELETE" });

export const retryJob = (ref: JobRef) => request(`${apiPath(ref)}/retry`, { method: "POST" });

/** Drops what is cached of a deleted job. */
export function dropFromCache(client: QueryClient, { kind, key }: JobRef, { images }: Job): void {
  client.removeQueries({ queryKey: ["job", kind, key] });
  for (const { id } of images)
    for (const what of ["pixels", "heatmap"]) client.removeQueries({ queryKey: [what, id] });
}

/** Where the contour of a finding's heatmap is drawn, as a share of its scale; the middle where the bundle says nothing. */
export const cutOf = ({ map_scale }: Job, finding = ""): number =>
  (map_scale?.cuts as Record<string, number> | undefined)?.[finding] ?? 0.5;

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
