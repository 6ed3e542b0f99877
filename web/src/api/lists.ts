/** Puts what the event stream tells of a job into the lists that are cached. */
import type { InfiniteData, Query, QueryClient } from "@tanstack/react-query";
import type { JobSummary, Schemas } from "./client";

type Page = Schemas["JobPage"];
type Pages = InfiniteData<Page>;
const LISTS = { queryKey: ["jobs"] };
const SETTLE_MS = 500;
/** The orders in which a row's place is known here. */
const WAYS: Record<string, number> = { newest: -1, oldest: 1 };

export function rowChanged(client: QueryClient, row: JobSummary): void {
  for (const query of client.getQueryCache().findAll(LISTS)) {
    const { sort, ...filters } = query.queryKey[1] as Record<string, string>;
    const way = Object.values(filters).some(Boolean) ? undefined : WAYS[sort ?? ""];
    const shown = (query.state.data as Pages | undefined)?.pages
      .flatMap(({ items }) => items)
      .find(same(row));
    if (!way && shown?.state !== row.state) readSoon(client, query.queryKey);
    edit(client, query, (pages) =>
      superseded(pages.some(holds(row)) ? replaced(pages, row) : inserted(pages, row, way), row),
    );
  }
}

export function rowErased(client: QueryClient, id: string): void {
  for (const query of client.getQueryCache().findAll(LISTS))
    edit(client, query, (pages) =>
      pages.map((page) => ({
        ...page,
        items: page.items
          .filter((item) => item.id !== id)
          .map((item) => (item.superseded_by === id ? { ...item, superseded_by: null } : item)),
      })),
    );
}

function edit(
  client: QueryClient,
  { queryKey, state, promise }: Query,
  change: (pages: Page[]) => Page[],
): void {
  const apply = () => {
    client.setQueryData<Pages>(queryKey, (data) => data && { ...data, pages: change(data.pages) });
  };
  apply();
  // The answer of a request on its way replaces all pages, also those that it did not ask for.
  if (state.fetchStatus !== "idle") promise?.then(apply, () => undefined);
}

const same = (row: JobSummary) => (item: JobSummary) => item.id === row.id;
const holds = (row: JobSummary) => (page: Page) => page.items.some(same(row));

const replaced = (pages: Page[], row: JobSummary) =>
  pages.map((page) => {
    if (!holds(row)(page)) return page;
    const newer = (item: JobSummary) => (item.id === row.id && item.version < row.version ? row : item);
    return { ...page, items: page.items.map(newer) };
  });

/** The row of the job before is not told by the server: nothing in that job has changed. */
const superseded = (pages: Page[], { id, state, supersedes }: JobSummary) =>
  !supersedes || state !== "succeeded"
    ? pages
    : pages.map((page) => ({
        ...page,
        items: page.items.map((item) => (item.id === supersedes ? { ...item, superseded_by: id } : item)),
      }));

/** By the order of the server: time and id, `Z` before any fraction of a second. */
const placeOf = ({ created_at, id }: JobSummary) => created_at.replace("Z", " ") + id;
const compare = (a: JobSummary, b: JobSummary) => (placeOf(a) < placeOf(b) ? -1 : 1);

/** Behind the last page that is loaded it comes with the page that it is on. */
function inserted(pages: Page[], row: JobSummary, way: number | undefined): Page[] {
  const reaches = ({ items, next }: Page) => {
    const last = items.at(-1);
    return !next || (last && way && way * compare(row, last) < 0);
  };
  const place = way ? pages.findIndex(reaches) : -1;
  return pages.map((page, i) =>
    i === place ? { ...page, items: [...page.items, row].sort((a, b) => (way ?? 1) * compare(a, b)) } : page,
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
