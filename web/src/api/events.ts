/** One stream of events for all of the tenant's jobs, however many of them a tab shows. */
import type { Query, QueryClient } from "@tanstack/react-query";
import { useSyncExternalStore } from "react";
import { type Job, type JobSummary, send } from "./client";
import { whenOnline } from "./connection";
import { rowChanged, rowErased } from "./lists";

const RETRY_MS = 3_000;
let live = false;
const listeners = new Set<() => void>();

/** Whether changes come by themselves; else what is shown has to be asked for. */
export const useLive = () =>
  useSyncExternalStore(
    (listener) => {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    () => live,
  );

function setLive(now: boolean): void {
  live = now;
  for (const listener of listeners) listener();
}

/** Keep what is cached of the account's jobs up to date, until the returned function is called. */
export function followJobs(client: QueryClient): () => void {
  let source: EventSource;
  let last = "";
  let timer: ReturnType<typeof setTimeout> | undefined;
  let stopped = false;
  const open = () => {
    source = new EventSource(`/v1/events${last && `?since=${last}`}`);
    const on = (name: string, act: (data: string) => void) =>
      source.addEventListener(name, ({ data, lastEventId }) => {
        last = lastEventId || last;
        act(data);
      });
    source.onopen = () => setLive(true);
    source.onerror = () => {
      setLive(false);
      if (source.readyState === EventSource.CLOSED) timer = setTimeout(reopen, RETRY_MS);
    };
    on("job", (data) => changed(client, JSON.parse(data)));
    on("erased", (data) => erased(client, JSON.parse(data).id));
    on("reset", () =>
      client.invalidateQueries({ predicate: ({ queryKey }) => /^jobs?$/.test(String(queryKey[0])) }),
    );
  };
  /** A stream ends with the access token: asking who we are renews it. */
  const reopen = async () => {
    await whenOnline();
    const answer = await send(new Request("/auth/me")).catch(() => null);
    if (stopped || answer?.status === 401) return;
    if (answer?.ok) open();
    else timer = setTimeout(reopen, RETRY_MS);
  };
  open();
  return () => {
    stopped = true;
    clearTimeout(timer);
    source.close();
    setLive(false);
  };
}

const jobKey = (id: string) => ["job", "studies", id];
export const rowKey = (id: string) => ["row", id];

function changed(client: QueryClient, row: JobSummary): void {
  client.setQueryData(rowKey(row.id), row);
  const key = jobKey(row.id);
  const job = client.getQueryData<Job>(key);
  if (job && job.version !== row.version) {
    client.setQueryData<Job>(key, { ...job, progress: row.progress });
    void client.invalidateQueries({ queryKey: key });
  }
  if (row.supersedes && row.state === "succeeded")
    void client.invalidateQueries({ queryKey: jobKey(row.supersedes) });
  rowChanged(client, row);
}

function erased(client: QueryClient, id: string): void {
  client.removeQueries({ queryKey: rowKey(id) });
  void client.invalidateQueries({ queryKey: jobKey(id) });
  const superseded = ({ state: { data } }: Query) => (data as Job | undefined)?.superseded_by === id;
  void client.invalidateQueries({ queryKey: ["job"], predicate: superseded });
  rowErased(client, id);
}
