/** What was done and by whom, in all tenants, the latest first. */
import { useInfiniteQuery } from "@tanstack/react-query";
import { api, unwrap } from "../api/client";
import { Button } from "../ui/controls";
import { ErrorNote, Loading } from "../ui/states";
import { when } from "../ui/words";
import { Table } from "./platform";

export function Audit() {
  const audit = useInfiniteQuery({
    queryKey: ["audit"],
    queryFn: ({ pageParam }) =>
      unwrap(api.GET("/v1/admin/audit", { params: { query: { before: pageParam ?? undefined } } })),
    initialPageParam: null as number | null,
    getNextPageParam: ({ next }) => next,
  });
  const rows = audit.data?.pages.flatMap(({ items }) => items);
  return (
    <section className="card">
      <h2>Audit</h2>
      <ErrorNote error={audit.error} />
      {!rows && !audit.error && <Loading what="Loading…" />}
      {rows && (
        <Table
          name="What was done"
          head={["When", "Who", "What", "To what", "Details"]}
          rows={rows.map(({ id, at, actor, action, subject, detail, place }) => [
            <time key={id} dateTime={at} title={place === null ? "not linked yet" : `place ${place}`}>
              {when(at)}
            </time>,
            <code key="actor">{short(actor)}</code>,
            spoken(action),
            <code key="subject" title={subject}>
              {short(subject)}
            </code>,
            <div key="detail" className="sentence">
              {inWords(detail)}
            </div>,
          ])}
        />
      )}
      {audit.hasNextPage && <Button onPress={() => audit.fetchNextPage()}>Show more</Button>}
    </section>
  );
}

/** The beginning of an id or digest; of a service's database role, the service. */
const short = (id: string) =>
  id.replace(/^([0-9a-f]{8})[0-9a-f-]+$/, "$1").replace(/^thorax_(.+?)(_login)?$/, "$1");

const spoken = (name: string) => name.replaceAll("_", " ");

const inWords = (detail: Record<string, unknown>) =>
  Object.entries(detail)
    .map(([name, value]) => `${spoken(name)}: ${word(value)}`)
    .join("; ");

function word(value: unknown): string {
  if (typeof value === "boolean") return value ? "yes" : "no";
  if (Array.isArray(value)) return value.map(word).join(", ");
  if (typeof value === "object" && value) {
    return Object.entries(value)
      .map(([name, part]) => `${spoken(name)} ${[part].flat().map(word).join(" ")}`)
      .join(", ");
  }
  return typeof value === "string" ? value.slice(0, 20) : JSON.stringify(value);
}
