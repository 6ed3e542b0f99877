/** Results that no destination took: why, and a second try. */
import { useInfiniteQuery, useMutation, useQueryClient } from "@tanstack/react-query";
import { api, unwrap } from "../api/client";
import { Button } from "../ui/controls";
import { ErrorNote, Loading } from "../ui/states";
import { ago, plural } from "../ui/words";
import { useTenantNames } from "./tenants";

const KINDS = { dicomweb: "DICOMweb", dicom: "C-STORE", webhook: "webhook" };

/** Of all tenants, or the `own`: these are shown where there are some, and only webhooks are the tenant's to tell again. */
export function Deliveries({ own = false }) {
  const client = useQueryClient();
  const queryKey = ["deliveries", own];
  const dead = useInfiniteQuery({
    queryKey,
    queryFn: ({ pageParam }) =>
      unwrap(
        api.GET(own ? "/v1/deliveries" : "/v1/admin/deliveries", {
          params: { query: { cursor: pageParam ?? undefined } },
        }),
      ),
    initialPageParam: null as string | null,
    getNextPageParam: ({ next }) => next,
    refetchInterval: 15_000,
  });
  const items = dead.data?.pages.flatMap((page) => page.items) ?? [];
  const name = useTenantNames(own ? [] : items);
  const resend = useMutation({
    mutationFn: (delivery_id: string) =>
      unwrap(
        api.POST(own ? "/v1/deliveries/{delivery_id}/resend" : "/v1/admin/deliveries/{delivery_id}/resend", {
          params: { path: { delivery_id } },
        }),
      ),
    onSettled: () => client.invalidateQueries({ queryKey }),
  });
  if (own && items.length === 0) return null;
  return (
    <section className="card" aria-label="Results not delivered">
      <h2>Results not delivered</h2>
      <p className="muted">
        {own
          ? "Correct your webhook, then resend. For a PACS, ask an administrator."
          : "To a PACS or webhook of any tenant. Correct the cause, then resend."}
      </p>
      <ErrorNote error={dead.error ?? resend.error} />
      {dead.isPending && !dead.error && <Loading what="Loading…" />}
      {dead.data && items.length === 0 && <p>Every result has been delivered, or is still on its way.</p>}
      <ul className="list">
        {items.map((one) => (
          <li key={one.id}>
            <span>
              <strong>{one.error_detail ?? "The process that sent it ended each time."}</strong>{" "}
              <code>{one.job_id.slice(0, 8)}</code>
              <br />
              <span className="muted">
                {own ? "" : `${name(one.tenant_id)} · `}
                {KINDS[one.kind]} {one.destination} · {one.error_code} · {plural(one.attempts, "attempt")} ·{" "}
                {ago(one.updated_at)}
              </span>
            </span>
            {(!own || one.kind === "webhook") && (
              <Button
                onPress={() => resend.mutate(one.id)}
                isPending={resend.isPending && resend.variables === one.id}
                aria-label={`Resend ${one.job_id.slice(0, 8)} to ${one.destination}`}
              >
                Resend
              </Button>
            )}
          </li>
        ))}
      </ul>
      {dead.hasNextPage && <Button onPress={() => dead.fetchNextPage()}>Show more</Button>}
    </section>
  );
}
