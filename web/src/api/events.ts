/** One stream of events for all of the tenant's jobs, however many of them a tab shows. */
import type { InfiniteData, QueryClient } from "@tanstack/react-query";
import { useSyncExternalStore } from "react";
import { type Job, type JobSummary, type Schemas, send } from "./client";
import { whenOnline } from "./connection";

const RETRY_MS = 3_000;
const SETTLE_MS = 500;
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

type Pages = InfiniteData<Schemas["JobPage"]>;
export const jobKey = (id: string) => ["job", "studies", id];
export const rowKey = (id: string) => ["row", id];

function changed(client: QueryClient, row: JobSummary): void {
  client.setQueryData(rowKey(row.id), row);
  const key = jobKey(row.id);
  const job = client.getQueryData<Job>(key);
  if (job && job.version !== row.version) {
    client.setQueryData<Job>(key, { ...job, progress: row.progress });
    void client.invalidateQueries({ queryKey: key });
  }
  const lists = client.getQueriesData<Pages>({ queryKey: ["jobs"] });
  for (const [queryKey, data] of lists) {
    if (!data) continue;
    const among = data.pages.some(({ items }) => items.some(({ id }) => id === row.id));
    const { title, state, finding, sort } = queryKey[1] as Record<string, string>;
    if (title || state || finding || (sort !== "newest" && !among)) readSoon(client, queryKey);
    else
      client.setQueryData<Pages>(queryKey, {
        ...data,
        pages: data.pages.map(among ? replaced(row) : prepended(row)),
      });
  }
}

const replaced = (row: JobSummary) => (page: Schemas["JobPage"]) =>
  page.items.some(({ id }) => id === row.id)
    ? { ...page, items: page.items.map((item) => (item.id === row.id ? row : item)) }
    : page;
const prepended = (row: JobSummary) => (page: Schemas["JobPage"], place: number) =>
  place ? page : { ...page, items: [row, ...page.items] };

function erased(client: QueryClient, id: string): void {
  client.removeQueries({ queryKey: rowKey(id) });
  void client.invalidateQueries({ queryKey: jobKey(id) });
  client.setQueriesData<Pages>(
    { queryKey: ["jobs"] },
    (data) =>
      data && {
        ...data,
        pages: data.pages.map((page) => ({ ...page, items: page.items.filter((item) => item.id !== id) })),
      },
  );
}

const soon = new Map<string, ReturnType<typeof setTimeout>>();
/** What a filter or an order leaves out only the server knows: ask it, once for many changes. */
function readSoon(client: QueryClient, queryKey: readonly unknown[]): void {
  const name = JSON.stringify(queryKey);
  if (soon.has(name)) return;
  const read = () => {
    soon.delete(name);
    void client.invalidateQueries({ queryKey, exact: true });
  };
  soon.set(name, setTimeout(read, SETTLE_MS));
}
