/** Two studies of one patient, then and now: beside each other or one over the other, and how each finding moved. */
import { type PointerEvent, type ReactNode, useCallback, useRef, useState } from "react";
import { Link, useLocation } from "wouter";
import type { Finding, Job, JobSummary, Schemas } from "../api/client";
import { isGone, ownJob, useJob, usePriors } from "../api/jobs";
import { Missing, top } from "../study/study";
import { ErrorNote, Loading } from "../ui/states";
import { percent, taken, when } from "../ui/words";
import { Stage } from "../viewer/stage";
import { Toolbar } from "../viewer/toolbar";
import { type Change, type State, toggleFullScreen, useKeys, useLook } from "../viewer/use_look";
import { NO_FILTERS, useJobs } from "../worklist/jobs";

const moment = (job: Job) => `${job.study.study_date ?? job.created_at.slice(0, 10)} ${job.created_at}`;

export function Compare({ a, b }: { a: string; b: string | undefined }) {
  const priors = usePriors(a);
  const other = b ?? priors.data?.items[0]?.id;
  const [passed, setPassed] = useState<string>();
  if (!priors.data || isGone(priors.error))
    return priors.error ? <Missing error={priors.error} /> : <Loading what="Loading…" />;
  return (
    <div className={other && other !== passed ? "compare both" : "compare"}>
      <header className="row between">
        <h1>Compare</h1>
        {other && <Choice a={a} b={other} priors={priors.data} onOther={() => setPassed(other)} />}
      </header>
      {other && other !== passed ? (
        <Both a={a} b={other} key={other} />
      ) : (
        <Choose a={a} priors={priors.data} />
      )}
    </div>
  );
}

type ChoiceProps = { a: string; b: string; priors: Schemas["Priors"]; onOther: () => void };

function Choice({ a, b, priors, onOther }: ChoiceProps) {
  const [, go] = useLocation();
  const among = priors.items.some(({ id }) => id === b);
  return (
    <label className="row muted">
      With
      <select
        value={b}
        onChange={({ target }) => (target.value ? go(`/compare/${a}/${target.value}`) : onOther())}
      >
        {priors.items.map((item) => (
          <option key={item.id} value={item.id}>
            {`${taken(item, item.created_at)}, ${item.title || "untitled"}`}
          </option>
        ))}
        {!among && <option value={b}>another study</option>}
        <option value="">choose another study…</option>
      </select>
    </label>
  );
}

function Both({ a, b }: { a: string; b: string }) {
  const one = useJob(ownJob(a), false);
  const other = useJob(ownJob(b), false);
  const [chosen, setChosen] = useState<string>();
  const [look, change] = useLook({ split: "side" });
  const frame = useRef<HTMLElement>(null);
  const onFullScreen = useCallback(() => toggleFullScreen(frame.current), []);
  const names = one.data?.study.findings.map(({ finding }) => finding) ?? [];
  useKeys({ change, onFullScreen, onFinding: (index) => setChosen(names[index]) });
  const error = [one.error, other.error].find(isGone) ?? one.error ?? other.error;
  if (!one.data || !other.data || isGone(error))
    return error ? <Missing error={error} /> : <Loading what="Loading…" />;
  const [then, now] =
    moment(one.data) <= moment(other.data) ? [one.data, other.data] : [other.data, one.data];
  const finding = chosen ?? top(now.study.findings)?.finding;
  const view = then.images[0]?.view_position;
  const image = now.images.find(({ view_position }) => view_position === view) ?? now.images[0];
  const pane = (job: Job, image: Schemas["ImageView"] | undefined) =>
    image && (
      <Stage
        image={image}
        finding={image.findings.find((one) => one.finding === finding)}
        look={{ ...look, split: "single" }}
        change={change}
        key={job.id}
      />
    );
  return (
    <>
      <section className="viewer" ref={frame} aria-label="Images, then and now">
        <Toolbar {...{ look, change, onFullScreen }} heat />
        <Panes
          {...{ look, change }}
          then={[then, pane(then, then.images[0])]}
          now={[now, pane(now, image)]}
        />
      </section>
      <Table {...{ then, now, finding }} onChoose={setChosen} />
    </>
  );
}

type PanesProps = {
  look: State;
  change: (by: Change) => void;
  then: [Job, ReactNode];
  now: [Job, ReactNode];
};

function Panes({ look, change, then, now }: PanesProps) {
  const swipe = (event: PointerEvent<HTMLElement>) => {
    const box = event.currentTarget.parentElement?.getBoundingClientRect();
    if (event.buttons && box)
      change({ swipe: Math.min(Math.max((event.clientX - box.left) / box.width, 0), 1) });
  };
  const over = look.split === "swipe";
  return (
    <div className={`panes ${look.split}`}>
      {look.split !== "single" && <Pane word="Then" job={then[0]} stage={then[1]} />}
      <Pane word="Now" job={now[0]} stage={now[1]} cut={over ? look.swipe : undefined} />
      {over && (
        <span
          className="swipe-line grab"
          style={{ left: `${look.swipe * 100}%` }}
          onPointerDown={(event) => event.currentTarget.setPointerCapture(event.pointerId)}
          onPointerMove={swipe}
        />
      )}
    </div>
  );
}

type PaneProps = { word: string; job: Job; stage: ReactNode; cut?: number | undefined };

/** `cut`: the share at the left through which what lies below is seen. */
function Pane({ word, job, stage, cut }: PaneProps) {
  const clip = cut === undefined ? undefined : { clipPath: `inset(0 0 0 ${cut * 100}%)` };
  return (
    <div className="pane" style={clip}>
      {stage}
      <h2>
        {word}: <Link href={`/studies/${job.id}`}>{taken(job.study, job.created_at)}</Link>
      </h2>
    </div>
  );
}

type TableProps = { then: Job; now: Job; finding: string | undefined; onChoose: (finding: string) => void };

function Table({ then, now, finding, onChoose }: TableProps) {
  const value = (job: Job, name: string) => job.study.findings.find((one) => one.finding === name);
  return (
    <section className="card scroll-x" aria-label="Findings then and now">
      <Strangers {...{ then, now }} />
      <table>
        <thead>
          <tr>
            <th scope="col">Finding</th>
            <th scope="col">
              Then <small>{taken(then.study, then.created_at)}</small>
            </th>
            <th scope="col">
              Now <small>{taken(now.study, now.created_at)}</small>
            </th>
            <th scope="col">Change</th>
          </tr>
        </thead>
        <tbody>
          {now.study.findings.map(({ finding: name, label }) => (
            <tr key={name}>
              <th scope="row">
                <button type="button" aria-pressed={name === finding} onClick={() => onChoose(name)}>
                  {label}
                </button>
              </th>
              <Value finding={value(then, name)} />
              <Value finding={value(now, name)} />
              <td>{change(value(then, name), value(now, name))}</td>
            </tr>
          ))}
        </tbody>
      </table>
      {then.bundle.digest !== now.bundle.digest && (
        <p className="note">Different bundles read these two; part of a change may be theirs.</p>
      )}
    </section>
  );
}

/** The server knows studies as one patient's by a patient id that both have, and lists the earlier ones. */
function Strangers({ then, now }: { then: Job; now: Job }) {
  const priors = usePriors(now.id).data;
  if (!priors || priors.items.some(({ id }) => id === then.id)) return null;
  return <p className="note">Not known to be the same patient.</p>;
}

function Value({ finding }: { finding: Finding | undefined }) {
  if (!finding) return <td>—</td>;
  const word = finding.positive ? "positive" : "negative";
  return (
    <td>
      {percent(finding.probability, 1)} <small className={`verdict ${word}`}>{word}</small>
    </td>
  );
}

/** Less than this many points is no change to speak of, even across a threshold. */
const SMALL = 5;

/** In points, and whether the threshold was crossed. */
function change(before: Finding | undefined, after: Finding | undefined): string {
  if (!before || !after) return "—";
  const points = 100 * (after.probability - before.probability);
  const crossed = before.positive !== after.positive;
  if (Math.abs(points) < 0.05 && !crossed) return "none";
  const moved = `${points >= 0 ? "+" : "−"}${Math.abs(points).toFixed(1)} points`;
  if (!crossed) return moved;
  if (Math.abs(points) < SMALL) return `${moved}, crossed the threshold`;
  return `${moved}, ${after.positive ? "new" : "gone"}`;
}

/** Any other study, where the files don't say whose they are, or there is no earlier one. */
function Choose({ a, priors }: { a: string; priors: Schemas["Priors"] }) {
  const [title, setTitle] = useState("");
  const jobs = useJobs({ ...NO_FILTERS, title, state: "succeeded" }, 20);
  const items = jobs.data?.pages.flatMap((page) => page.items).filter(({ id }) => id !== a) ?? [];
  return (
    <section className="card choose" aria-label="Compare with">
      <h2>Compare with</h2>
      <p className="muted">
        {!priors.patient_known
          ? "The file does not say of whom it is, so earlier studies of the same patient can't be found."
          : !priors.items.length && "There is no earlier study of this patient here."}{" "}
        Choose any other study.
      </p>
      <input
        type="search"
        aria-label="Search titles"
        placeholder="Search titles"
        value={title}
        onChange={(event) => setTitle(event.target.value)}
      />
      <ErrorNote error={jobs.error} />
      <ul className="list">
        {items.map((item) => (
          <Candidate key={item.id} a={a} item={item} />
        ))}
      </ul>
      {jobs.data && items.length === 0 && <p className="muted">There is no other study.</p>}
    </section>
  );
}

function Candidate({ a, item }: { a: string; item: JobSummary }) {
  return (
    <li>
      <Link href={`/compare/${a}/${item.id}`}>{item.title || "Untitled study"}</Link>
      <span className="muted">{when(item.created_at)}</span>
    </li>
  );
}
