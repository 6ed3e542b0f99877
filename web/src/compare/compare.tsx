/** Two studies beside each other: then and now. */
import { useState } from "react";
import { Link, useLocation } from "wouter";
import { type Job, Problem } from "../api/client";
import { ownJob, useJob } from "../api/jobs";
import { top } from "../study/study";
import { ErrorNote, Loading } from "../ui/states";
import { percent, when } from "../ui/words";
import { Viewer } from "../viewer/viewer";
import { useJobs } from "../worklist/worklist";

export function Compare({ a, b }: { a: string; b: string | undefined }) {
  const first = useJob(ownJob(a), false).data;
  const [chosen, setChosen] = useState<string>();
  const finding = chosen ?? (first ? top(first.study.findings)?.finding : undefined);
  return (
    <div className="compare">
      <h1>Compare</h1>
      <div className="compare-panes">
        <Pane id={a} finding={finding} />
        {b ? <Pane id={b} finding={finding} /> : <Choose a={a} />}
      </div>
      {first && b && <Table a={a} b={b} finding={finding} onChoose={setChosen} />}
    </div>
  );
}

function Pane({ id, finding }: { id: string; finding: string | undefined }) {
  const { data: job, error } = useJob(ownJob(id), false);
  if (error) return <ErrorNote error={error instanceof Problem ? error : null} />;
  const image = job?.images[0];
  if (!job || !image) return <Loading what="Loading…" />;
  return (
    <div className="compare-pane">
      <h2>
        <Link href={`/studies/${id}`}>{job.study.title || image.file_name}</Link>
        <span className="muted">{when(job.created_at)}</span>
      </h2>
      <Viewer
        image={image}
        finding={job.study.findings.find((one) => one.finding === finding)}
        name={image.file_name}
      />
    </div>
  );
}

function Choose({ a }: { a: string }) {
  const [, go] = useLocation();
  const [title, setTitle] = useState("");
  const jobs = useJobs({ title, state: "succeeded", finding: "" }, 20);
  const items = jobs.data?.pages.flatMap((page) => page.items).filter(({ id }) => id !== a) ?? [];
  return (
    <section className="card" aria-label="Compare with">
      <h2>Compare with</h2>
      <input
        type="search"
        aria-label="Search titles"
        placeholder="Search titles"
        value={title}
        onChange={(event) => setTitle(event.target.value)}
      />
      <ul className="choices">
        {items.map((item) => (
          <li key={item.id}>
            <button type="button" className="button quiet" onClick={() => go(`/compare/${a}/${item.id}`)}>
              {item.title || "Untitled study"} <span className="muted">{when(item.created_at)}</span>
            </button>
          </li>
        ))}
      </ul>
      {jobs.data && items.length === 0 && <p className="muted">There is no other study.</p>}
    </section>
  );
}

type TableProps = { a: string; b: string; finding: string | undefined; onChoose: (finding: string) => void };

function Table({ a, b, finding, onChoose }: TableProps) {
  const one = useJob(ownJob(a), false).data;
  const other = useJob(ownJob(b), false).data;
  if (!one || !other) return null;
  const [then, now] =
    Date.parse(one.created_at) <= Date.parse(other.created_at) ? [one, other] : [other, one];
  const value = (job: Job, name: string) => job.study.findings.find((one) => one.finding === name);
  return (
    <section className="card scroll-x" aria-label="Findings then and now">
      <table>
        <thead>
          <tr>
            <th scope="col">Finding</th>
            <th scope="col">{when(then.created_at)}</th>
            <th scope="col">{when(now.created_at)}</th>
            <th scope="col">Change</th>
          </tr>
        </thead>
        <tbody>
          {now.study.findings.map(({ finding: name, label }) => {
            const [before, after] = [value(then, name), value(now, name)];
            const change = (after?.probability ?? 0) - (before?.probability ?? 0);
            const points = `${change >= 0 ? "+" : "−"}${Math.abs(change * 100).toFixed(0)} points`;
            return (
              <tr key={name}>
                <th scope="row">
                  <button type="button" aria-pressed={name === finding} onClick={() => onChoose(name)}>
                    {label}
                  </button>
                </th>
                {[before, after].map((value, i) => (
                  <td key={i}>
                    {value
                      ? `${percent(value.probability)} ${value.positive ? "positive" : "negative"}`
                      : "—"}
                  </td>
                ))}
                <td>{points}</td>
              </tr>
            );
          })}
        </tbody>
      </table>
      {then.bundle.digest !== now.bundle.digest && (
        <p className="note">Different bundles read these two; part of a change may be theirs.</p>
      )}
    </section>
  );
}
