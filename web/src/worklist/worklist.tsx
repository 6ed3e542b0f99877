/** The tenant's studies: find, sort, open, compare, export, erase. */
import { useMutation, useQueryClient } from "@tanstack/react-query";
import { Download, Trash2, Upload } from "lucide-react";
import { useDeferredValue, useState } from "react";
import { Checkbox } from "react-aria-components";
import { Link, useLocation } from "wouter";
import type { JobSummary } from "../api/client";
import { eraseJob, isFinal, ownJob } from "../api/jobs";
import { STATES, State } from "../study/progress";
import { Button, Confirm, Select } from "../ui/controls";
import { Empty, ErrorNote, Loading, Picture } from "../ui/states";
import { ago, FINDINGS, percent, plural, taken, when } from "../ui/words";
import { exportAs } from "./export";
import { type Filters, NO_FILTERS, useJobs } from "./jobs";

const ORDERS = {
  newest: "Newest first",
  oldest: "Oldest first",
  suspicion: "Most suspicious first",
  title: "By title",
};

/** What was sought stays when one comes back from a study, and goes when somebody else logs in. */
function useFilters() {
  const client = useQueryClient();
  const [filters, setFilters] = useState(() => client.getQueryData<Filters>(["filters"]) ?? NO_FILTERS);
  const change = (by: Partial<Filters>) => {
    const now = { ...filters, ...by };
    client.setQueryData(["filters"], now);
    setFilters(now);
  };
  return [filters, change] as const;
}

export function Worklist() {
  const [filters, change] = useFilters();
  const sought = useDeferredValue(filters);
  const jobs = useJobs(sought);
  const [picked, setPicked] = useState<ReadonlySet<string>>(new Set());
  const save = useMutation({ mutationFn: (format: "csv" | "json") => exportAs(format, filters) });
  const items = jobs.data?.pages.flatMap((page) => page.items) ?? [];
  const filtered = Boolean(filters.title || filters.state || filters.finding);
  const pick = (id: string, on: boolean) =>
    setPicked((now) => new Set(on ? [...now, id] : [...now].filter((other) => other !== id)));
  return (
    <>
      <div className="row between head">
        <h1>Studies</h1>
        <div className="row">
          {(["csv", "json"] as const).map((format) => (
            <Button
              key={format}
              kind="quiet"
              onPress={() => save.mutate(format)}
              isPending={save.isPending && save.variables === format}
              isDisabled={!items.length}
            >
              <Download aria-hidden /> {format.toUpperCase()}
            </Button>
          ))}
          <Link href="/" className="button primary">
            <Upload aria-hidden /> Upload
          </Link>
        </div>
      </div>
      <Search filters={filters} onChange={change} />
      <ErrorNote error={save.error} />
      <Picked picked={picked} items={items} onPick={setPicked} />
      <ErrorNote error={jobs.error} onRetry={() => jobs.refetch()} />
      {jobs.isPending && !jobs.error && <Loading what="Loading the worklist…" />}
      {jobs.data && items.length === 0 && (
        <Empty inside title={filtered ? "No study matches" : "No studies yet"}>
          <p>{filtered ? "Loosen the filters." : "What you upload will be listed here."}</p>
          {filtered && <Button onPress={() => change(NO_FILTERS)}>Clear the filters</Button>}
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
        <div className="row more">
          <Button onPress={() => jobs.fetchNextPage()} isPending={jobs.isFetchingNextPage}>
            Show more
          </Button>
        </div>
      )}
    </>
  );
}

function Search({ filters, onChange }: { filters: Filters; onChange: (by: Partial<Filters>) => void }) {
  return (
    <search className="filters">
      <input
        type="search"
        aria-label="Search titles"
        placeholder="Search titles"
        value={filters.title}
        onChange={(event) => onChange({ title: event.target.value })}
      />
      <Select
        label="State"
        value={filters.state}
        onChange={(state) => onChange({ state })}
        options={{ "": "Any state", ...STATES }}
      />
      <Select
        label="Positive for"
        value={filters.finding}
        onChange={(finding) => onChange({ finding })}
        options={{
          "": "Any finding",
          ...Object.fromEntries(Object.entries(FINDINGS).map(([name, word]) => [name, `${word} positive`])),
        }}
      />
      <Select
        label="Order"
        value={filters.sort}
        onChange={(sort) => onChange({ sort: sort as Filters["sort"] })}
        options={ORDERS}
      />
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
            {item.study_date ? taken(item, item.created_at) : ago(item.created_at)} ·{" "}
            {plural(item.images, "image")}
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
                  ? percent(top.probability, 1)
                  : `closest: ${top.label} ${percent(top.probability, 1)}`}
              </span>
            </>
          )}
        </span>
        <State state={item.state} />
      </Link>
    </li>
  );
}

type PickedProps = {
  picked: ReadonlySet<string>;
  items: JobSummary[];
  onPick: (ids: ReadonlySet<string>) => void;
};

function Picked({ picked, items, onPick }: PickedProps) {
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
      onPick(new Set());
      void client.invalidateQueries({ queryKey: ["jobs"] });
    },
  });
  if (!picked.size) return <ErrorNote error={erase.error} />;
  const [a, b] = [...picked];
  return (
    <div className="picked row between" role="status">
      {plural(picked.size, "study", "studies")} picked
      <div className="row">
        {picked.size < items.length && (
          <Button kind="quiet" onPress={() => onPick(new Set(items.map(({ id }) => id)))}>
            Pick all {items.length}
          </Button>
        )}
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
        <Button kind="quiet" onPress={() => onPick(new Set())}>
          Unpick
        </Button>
      </div>
    </div>
  );
}
