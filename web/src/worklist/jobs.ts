/** The tenant's jobs, page by page, filtered and sorted by the server. */
import { keepPreviousData, useInfiniteQuery } from "@tanstack/react-query";
import { api, unwrap } from "../api/client";
import { useLive } from "../api/events";
import { isFinal } from "../api/jobs";
import type { paths } from "../api/schema";

/** As the parameters of `GET /v1/jobs` and of the page's own address. */
export const NO_FILTERS = {
  title: "",
  state: "",
  finding: "",
  created_after: "",
  created_before: "",
  accession: "",
  study_instance_uid: "",
  patient: "",
  bundle: "",
  sort: "newest",
};
export type Filters = typeof NO_FILTERS;
type Query = NonNullable<paths["/v1/jobs"]["get"]["parameters"]["query"]>;

const isSet = ([name, value]: [string, string]) => value !== NO_FILTERS[name as keyof Filters];
/** Those that are chosen. */
export const chosen = (filters: Filters) => Object.fromEntries(Object.entries(filters).filter(isSet));

/** One page of the list. The server refuses what is not a value of a filter, in a sentence. */
export function readPage(filters: Filters, cursor: string | null, limit: number) {
  const query: Query = { limit, cursor, ...chosen(filters) };
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
