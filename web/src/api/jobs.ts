/** Jobs of the own tenant and of the open API, which differ in nothing but their address. */
import { type QueryClient, queryOptions, useQuery, useQueryClient } from "@tanstack/react-query";
import { useEffect, useState } from "react";
import { api, type Job, ok, Problem } from "./client";

/** A job of the signed-in tenant by its id, or one of the open API by its secret link. */
export type JobRef = { kind: "studies" | "open"; key: string };

export const ownJob = (id: string): JobRef => ({ kind: "studies", key: id });
/** Where the API has it. */
export const apiPath = ({ kind, key }: JobRef) =>
  kind === "open" ? `/v1/anonymous/jobs/${key}` : `/v1/jobs/${key}`;
/** Where the page shows it. */
export const viewPath = ({ kind, key }: JobRef) => `/${kind}/${key}`;
/** The job that a link of the API leads to. */
export function refOf(self: string): JobRef {
  const key = self.slice(self.lastIndexOf("/") + 1);
  return { kind: self.includes("/anonymous/") ? "open" : "studies", key };
}

export const FINAL = new Set(["succeeded", "failed", "cancelled"]);
export const isFinal = (job?: { state: string }) => job !== undefined && FINAL.has(job.state);
/** Erased, or never one's own: what is cached of it must not be shown any longer. */
export const isGone = (error: unknown) => error instanceof Problem && error.status === 404;

const readJob = ({ kind, key }: JobRef) =>
  kind === "open"
    ? ok(api.GET("/v1/anonymous/jobs/{secret}", { params: { path: { secret: key } } }))
    : ok(api.GET("/v1/jobs/{job_id}", { params: { path: { job_id: key } } }));

export const jobQuery = (ref: JobRef) =>
  queryOptions({ queryKey: ["job", ref.kind, ref.key], queryFn: () => readJob(ref) });

/** A job, followed by server-sent events until it ends; by polling where those can't be had (or `live` is off). */
export function useJob(ref: JobRef, live = true) {
  const [streaming, setStreaming] = useState(false);
  const client = useQueryClient();
  const { queryKey } = jobQuery(ref);
  const query = useQuery({
    ...jobQuery(ref),
    refetchInterval: ({ state }) =>
      isFinal(state.data) || isGone(state.error) ? false : streaming ? 20_000 : 1_500,
  });
  const open = query.data !== undefined && !isFinal(query.data) && !isGone(query.error);
  const path = apiPath(ref);
  useEffect(() => {
    if (!open || !live) return;
    const source = new EventSource(`${path}/events`);
    source.onopen = () => setStreaming(true);
    source.onerror = () => setStreaming(false); // it tries again by itself, and polling covers the gap
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

/** Cancels an open job, erases one that has ended. With `only` the other of the two is refused (409). */
export function eraseJob({ kind, key }: JobRef, only?: "cancel" | "erase") {
  const query = only && { only };
  return kind === "open"
    ? ok(api.DELETE("/v1/anonymous/jobs/{secret}", { params: { path: { secret: key }, query } }))
    : ok(api.DELETE("/v1/jobs/{job_id}", { params: { path: { job_id: key }, query } }));
}

/** Drops what is cached of an erased job. */
export function forget(client: QueryClient, { kind, key }: JobRef, { images }: Job): void {
  client.removeQueries({ queryKey: ["job", kind, key] });
  for (const { id } of images)
    for (const what of ["pixels", "heat"]) client.removeQueries({ queryKey: [what, id] });
}

export const retryJob = ({ kind, key }: JobRef) =>
  kind === "open"
    ? ok(api.POST("/v1/anonymous/jobs/{secret}/retry", { params: { path: { secret: key } } }))
    : ok(api.POST("/v1/jobs/{job_id}/retry", { params: { path: { job_id: key } } }));

/** What a result lacks, a sentence each. */
export function caveats({ state, missing_backbones, images }: Job): string[] {
  const said: string[] = [];
  if (missing_backbones.length)
    said.push(`Without ${missing_backbones.join(", ")}: the ensemble is weaker, and not measured like this.`);
  const done = images.filter((image) => image.state !== "failed").length;
  if (state === "succeeded" && done < images.length)
    said.push(`${done} of ${images.length} images could be analysed.`);
  return said;
}

/** Earlier studies of the same patient. */
export function usePriors(id: string, enabled = true) {
  return useQuery({
    queryKey: ["priors", id],
    queryFn: () => ok(api.GET("/v1/jobs/{job_id}/priors", { params: { path: { job_id: id } } })),
    enabled,
  });
}

export const modelsQuery = queryOptions({
  queryKey: ["models"],
  queryFn: () => ok(api.GET("/v1/models")),
  staleTime: 60_000,
});

/** The bundle that new jobs use, and its measured mean AUC in words. */
export function useActiveModel() {
  const model = useQuery(modelsQuery).data?.items.find((item) => item.active);
  return { model, auc: model ? aucWords(model.metrics) : undefined };
}

export type Metrics = {
  data?: string;
  split?: string;
  n?: number;
  ensemble?: {
    mean_auc?: number | null;
    mean_auc_95?: number[];
    auc?: Record<string, number | null>;
    ece?: number;
  };
  backbones?: Record<string, { mean_auc?: number | null }>;
};

function aucWords(metrics: Metrics): string {
  const { ensemble, data, n } = metrics;
  if (typeof ensemble?.mean_auc !== "number") return "no measured AUC";
  const images = n ? `, ${n.toLocaleString("en")} images` : "";
  return `mean AUC ${ensemble.mean_auc.toFixed(3)} measured on ${data ?? "held-out data"}${images}`;
}
