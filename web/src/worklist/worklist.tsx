/** The tenant's studies: find, sort, open, compare, export, delete. */
import { useMutation } from "@tanstack/react-query";
import { Download, Upload } from "lucide-react";
import { memo, useCallback, useDeferredValue, useEffect, useRef, useState } from "react";
import { Link, useSearchParams } from "wouter";
import type { JobSummary } from "../api/client";
import { Study } from "../study/ahead";
import { Button } from "../ui/controls";
import { Empty, ErrorNote, Loading } from "../ui/states";
import { exportAs } from "./export";
import { chosen, type Filters, NO_FILTERS, useJobs } from "./jobs";
import { readStudies, rememberList } from "./reading_order";
import { Row } from "./row";
import { Search } from "./search";
import { Selected } from "./selected";

/** The filters are in the address, so that a link or a bookmark has them too. */
function useFilters() {
  const [params, setParams] = useSearchParams();
  const filters = { ...NO_FILTERS };
  for (const name of Object.keys(NO_FILTERS) as (keyof Filters)[])
    filters[name] = params.get(name) ?? NO_FILTERS[name];
  const change = (by: Partial<Filters>) => {
    setParams(new URLSearchParams(chosen({ ...filters, ...by })), { replace: true });
  };
  return [filters, change] as const;
}

export function Worklist() {
  const [filters, change] = useFilters();
  const jobs = useJobs(useDeferredValue(filters));
  const [selected, setSelected] = useState<ReadonlySet<string>>(new Set());
  const [read] = useState(readStudies);
  const save = useMutation({ mutationFn: (format: "csv" | "json") => exportAs(format, filters) });
  const items = jobs.data?.pages.flatMap((page) => page.items) ?? [];
  useEffect(() => rememberList(items.map(({ id }) => id)), [jobs.data]);
  const filtered = Object.keys(chosen({ ...filters, sort: NO_FILTERS.sort })).length > 0;
  const select = useCallback((id: string, on: boolean) => {
    setSelected((now) => new Set(on ? [...now, id] : [...now].filter((other) => other !== id)));
  }, []);
  const more = useMore(() => !jobs.isFetchingNextPage && jobs.fetchNextPage());
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
      <Selected ids={selected} items={items} onSelect={setSelected} />
      <ErrorNote error={jobs.error} onRetry={() => jobs.refetch()} />
      {jobs.isPending && !jobs.error && <Loading what="Loading the worklist…" />}
      {jobs.data && items.length === 0 && (
        <Empty inside title={filtered ? "No matching studies" : "No studies yet"}>
          <p>{filtered ? "Change or clear the filters." : "Uploaded studies appear here."}</p>
          {filtered && <Button onPress={() => change(NO_FILTERS)}>Clear the filters</Button>}
        </Empty>
      )}
      {items.length > 0 && (
        <ul className="worklist" aria-label="Studies" onPointerEnter={loadStudy} onFocus={loadStudy}>
          {jobs.data?.pages.map((page, i) => (
            <Rows key={i} items={page.items} read={read} selected={selected} onSelect={select} />
          ))}
        </ul>
      )}
      {jobs.hasNextPage && (
        <div className="row more" ref={more}>
          <Button onPress={() => jobs.fetchNextPage()} isPending={jobs.isFetchingNextPage}>
            Show more
          </Button>
        </div>
      )}
    </>
  );
}

type RowsProps = {
  items: JobSummary[];
  read: ReadonlySet<string>;
  selected: ReadonlySet<string>;
  onSelect: (id: string, on: boolean) => void;
};

/** A page of the list, so that one more does not mean a look at each row of all those before. */
const Rows = memo(function Rows({ items, read, selected, onSelect }: RowsProps) {
  return items.map((item) => (
    <Row
      key={item.id}
      item={item}
      unread={!read.has(item.id)}
      selected={selected.has(item.id)}
      onSelect={onSelect}
    />
  ));
});

const loadStudy = () => void Study.ahead().catch(() => undefined); // the study's view says what is wrong

const AHEAD = "2400px";

/** Calls `load` when what it is put on comes near the screen. */
function useMore(load: () => unknown) {
  const latest = useRef(load);
  latest.current = load;
  return useCallback((element: HTMLElement | null) => {
    if (!element) return;
    const observer = new IntersectionObserver(([seen]) => seen?.isIntersecting && latest.current(), {
      rootMargin: AHEAD,
    });
    observer.observe(element);
    return () => observer.disconnect();
  }, []);
}
