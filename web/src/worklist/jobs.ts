/** The tenant's jobs, page by page, filtered and sorted by the server. */
import { keepPreviousData, useInfiniteQuery } from "@tanstack/react-query";
import { api, type JobSummary, type Schemas, unwrap } from "../api/client";
import { useLive } from "../api/events";
import { isFinal } from "../api/jobs";

export type Filters = { title: string; state: string; finding: string; sort: string };
export const NO_FILTERS: Filters = { title: "", state: "", finding: "", sort: "newest" };

/** One page of the list. */
export function readPage(filters: Filters, cursor: string | null, limit: number) {
  const query = {
    limit,
    cursor: cursor ?? undefined,
    sort: filters.sort as Schemas["Order"],
    title: filters.title || undefined,
    state: (filters.state || undefined) as JobSummary["state"] | undefined,
    finding: filters.finding || undefined,
  };
  return unwrap(api.GET("/v1/jobs", { params: { query } }));
}

export function useJobs(filters: Filters, limit = 25) {
  const live = useLive();
  return useInfiniteQuery({
    queryKey: ["jobs", filters, limit],
    queryFn: ({ pageParam }) => readPage(filters, pageParam, limit),
    initialPageParam: null as string | null,
    getNextPageParam: ({ next }) => next,
    placeholderData: keepPreviousData,
    refetchInterval: ({ state }) =>
      !live && (state.data?.pages.some(({ items }) => items.some((item) => !isFinal(item))) ? 2000 : 30_000),
  });
}
