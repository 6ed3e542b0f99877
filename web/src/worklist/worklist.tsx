/** The tenant's studies: find, open, compare, export, erase. */
import { keepPreviousData, useInfiniteQuery, useMutation, useQueryClient } from "@tanstack/react-query";
import { Trash2, Upload } from "lucide-react";
import { useDeferredValue, useState } from "react";
import { Checkbox } from "react-aria-components";
import { Link, useLocation } from "wouter";
import { api, type JobSummary, ok } from "../api/client";
import { eraseJob, isFinal, ownJob } from "../api/jobs";
import { State } from "../study/progress";
import { Button, Confirm } from "../ui/controls";
import { Empty, ErrorNote, Loading, Picture } from "../ui/states";
import { ago, percent, plural, when } from "../ui/words";
import { exportAs } from "./export";

export type Filters = { title: string; state: string; finding: string };

const FINDINGS = ["atelectasis", "cardiomegaly", "consolidation", "edema", "pleural_effusion"];
const STATES = ["queued", "running", "succeeded", "failed", "cancelled"];
const words = (name: string) => name.replace("_", " ").replace(/^./, (letter) => letter.toUpperCase());

/** One page of the list. */
export function readPage(filters: Filters, cursor: string | null, limit: number) {
  const query = {
    limit,
    cursor: cursor ?? undefined,
    title: filters.title || undefined,
    state: (filters.state || undefined) as JobSummary["state"] | undefined,
    finding: filters.finding || undefined,
  };
  return ok(api.GET("/v1/jobs", { params: { query } }));
}

export function useJobs(filters: Filters, limit = 25) {
  return useInfiniteQuery({
    queryKey: ["jobs", filters, limit],
    queryFn: ({ pageParam }) => readPage(filters, pageParam, limit),
    initialPageParam: null as string | null,
    getNextPageParam: ({ next }) => next,
    placeholderData: keepPreviousData,
    refetchInterval: ({ state }) =>
      state.data?.pages.some(({ items }) => items.some((item) => !isFinal(item))) ? 2000 : 30_000,
  });
}

export function Worklist() {
  const [filters, setFilters] = useState<Filters>({ title: "", state: "", finding: "" });
  const sought = useDeferredValue(filters);
  const jobs = useJobs(sought);
  const [picked, setPicked] = useState<ReadonlySet<string>>(new Set());
  const items = jobs.data?.pages.flatMap((page) => page.items) ?? [];
  const filtered = Object.values(filters).some(Boolean);
  const pick = (id: string, on: boolean) =>
    setPicked((now) => new Set(on ? [...now, id] : [...now].filter((other) => other !== id)));
  return (
    <>
      <div className="row between head">
        <h1>Studies</h1>
        <div className="row">
          <Button kind="quiet" onPress={() => exportAs("csv", filters)}>
            CSV
          </Button>
          <Button kind="quiet" onPress={() => exportAs("json", filters)}>
            JSON
          </Button>
          <Link href="/" className="button primary">
            <Upload aria-hidden /> Upload
          </Link>
        </div>
      </div>
      <Search filters={filters} onChange={setFilters} />
      <Picked picked={picked} items={items} onDone={() => setPicked(new Set())} />
      <ErrorNote error={jobs.error} onRetry={() => jobs.refetch()} />
      {jobs.isPending && !jobs.error && <Loading what="Loading the worklist…" />}
      {jobs.data && items.length === 0 && (
        <Empty inside title={filtered ? "No study matches" : "No studies yet"}>
          <p>{filtered ? "Loosen the filters." : "What you upload will be listed here."}</p>
        </Empty>
      )}
      {items.length > 0 && (
        <ul className="worklist" aria-label="Studies">
          {items.map((item) => (
            <Row key={item.id} item={item} picked={picked.has(item.id)} onPick={(on) => pick(item.id, on)} />
          ))}
        </ul>
      )}
      {jobs.hasNextPage && (
        <Button onPress={() => jobs.fetchNextPage()} isPending={jobs.isFetchingNextPage}>
          Show more
        </Button>
      )}
    </>
  );
}

function Search({ filters, onChange }: { filters: Filters; onChange: (filters: Filters) => void }) {
  return (
    <search className="filters">
      <input
        type="search"
        aria-label="Search titles"
        placeholder="Search titles"
        value={filters.title}
        onChange={(event) => onChange({ ...filters, title: event.target.value })}
      />
      <select
        aria-label="State"
        value={filters.state}
        onChange={(event) => onChange({ ...filters, state: event.target.value })}
      >
        <option value="">Any state</option>
        {STATES.map((state) => (
          <option key={state} value={state}>
            {words(state)}
          </option>
        ))}
      </select>
      <select
        aria-label="Positive for"
        value={filters.finding}
        onChange={(event) => onChange({ ...filters, finding: event.target.value })}
      >
        <option value="">Any finding</option>
        {FINDINGS.map((finding) => (
          <option key={finding} value={finding}>
            {words(finding)} positive
          </option>
        ))}
      </select>
    </search>
  );
}

function Row({ item, picked, onPick }: { item: JobSummary; picked: boolean; onPick: (on: boolean) => void }) {
  const top = item.top_finding;
  const name = item.title || "Untitled study";
  return (
    <li className={picked ? "study-row picked" : "study-row"}>
      <Checkbox isSelected={picked} onChange={onPick} aria-label={`Pick ${name}`} className="checkbox">
        <span className="box" aria-hidden />
      </Checkbox>
      <Link href={`/studies/${item.id}`} className="study-link">
        <span className="thumb">
          {item.first_image && (item.state === "succeeded" || item.state === "running") && (
            <Picture src={`/v1/jobs/${item.id}/images/${item.first_image}/image.png?size=128`} alt="" />
          )}
        </span>
        <span className="study-name">
          <strong>{name}</strong>
          <span className="muted" title={when(item.created_at)}>
            {ago(item.created_at)} · {plural(item.images, "image")}
            {item.priority === "stat" && " · stat"}
          </span>
        </span>
        <span className="study-top">
          {top && (
            <>
              <span className={top.positive ? "verdict positive" : "verdict negative"}>
                {top.positive ? top.label : "Nothing above threshold"}
              </span>
              <span className="muted">
                {top.positive
                  ? percent(top.probability)
                  : `closest: ${top.label} ${percent(top.probability)}`}
              </span>
            </>
          )}
        </span>
        <State state={item.state} />
      </Link>
    </li>
  );
}

function Picked({
  picked,
  items,
  onDone,
}: {
  picked: ReadonlySet<string>;
  items: JobSummary[];
  onDone: () => void;
}) {
  const client = useQueryClient();
  const [, go] = useLocation();
  const erase = useMutation({
    mutationFn: async () => {
      for (const id of picked) {
        const open = items.some((item) => item.id === id && !isFinal(item));
        await eraseJob(ownJob(id)); // cancels one that is open; a second time erases it
        if (open) await eraseJob(ownJob(id)).catch(() => undefined);
      }
    },
    onSettled: () => {
      onDone();
      void client.invalidateQueries({ queryKey: ["jobs"] });
    },
  });
  if (!picked.size) return <ErrorNote error={erase.error} />;
  const [a, b] = [...picked];
  return (
    <div className="picked row between" role="status">
      {plural(picked.size, "study", "studies")} picked
      <div className="row">
        {picked.size === 2 && <Button onPress={() => go(`/compare/${a}/${b}`)}>Compare</Button>}
        <Confirm
          title={`Erase ${plural(picked.size, "study", "studies")}?`}
          act="Erase"
          onConfirm={() => erase.mutate()}
          trigger={
            <Button kind="danger" isPending={erase.isPending}>
              <Trash2 aria-hidden /> Erase
            </Button>
          }
        >
          Their images, findings and heatmaps are erased for everybody. This can't be undone.
        </Confirm>
        <Button kind="quiet" onPress={onDone}>
          Unpick
        </Button>
      </div>
    </div>
  );
}
