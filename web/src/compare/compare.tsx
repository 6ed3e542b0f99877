/** Two studies of one patient, then and now: side by side or one over the other, and how each finding changed. */
import { type PointerEvent, type ReactNode, useCallback, useRef, useState } from "react";
import { Link, useLocation } from "wouter";
import { ownJob } from "../api/addresses";
import type { Image, Job, Schemas } from "../api/client";
import { cutOf, isNotFound, useJob, usePriors } from "../api/jobs";
import { mostSuspicious } from "../findings/order";
import { NotFound } from "../study/study";
import { Loading } from "../ui/states";
import { FINDINGS, taken } from "../ui/words";
import { useViewerKeys } from "../viewer/commands";
import { ImageCanvas } from "../viewer/image_canvas";
import { Toolbar } from "../viewer/toolbar";
import { type Change, toggleFullScreen, useViewState, type ViewState } from "../viewer/view_state";
import { Changes } from "./changes";
import { StudySearch } from "./study_search";

const takenAt = (job: Job) => `${job.study.study_date ?? job.created_at.slice(0, 10)} ${job.created_at}`;

export function Compare({ a, b }: { a: string; b: string | undefined }) {
  const priors = usePriors(a);
  const other = b ?? priors.data?.items[0]?.id;
  const [dismissed, setDismissed] = useState<string>();
  const compared = other !== dismissed ? other : undefined;
  if (!priors.data || isNotFound(priors.error))
    return priors.error ? <NotFound error={priors.error} /> : <Loading what="Loading…" />;
  return (
    <div className={compared ? "compare both" : "compare"}>
      <header className="row between">
        <h1>Compare</h1>
        {other && <PriorSelect a={a} b={other} priors={priors.data} onOther={() => setDismissed(other)} />}
      </header>
      {compared ? <Both a={a} b={compared} key={compared} /> : <StudySearch a={a} priors={priors.data} />}
    </div>
  );
}

type PriorProps = { a: string; b: string; priors: Schemas["Priors"]; onOther: () => void };

function PriorSelect({ a, b, priors, onOther }: PriorProps) {
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
  const one = useJob(ownJob(a));
  const other = useJob(ownJob(b));
  const [chosen, setChosen] = useState<string>();
  const [view, change] = useViewState({ split: "side" });
  const frame = useRef<HTMLElement>(null);
  const onFullScreen = useCallback(() => toggleFullScreen(frame.current), []);
  const onFinding = useCallback((index: number) => setChosen(Object.keys(FINDINGS)[index]), []);
  useViewerKeys({ change, onFullScreen, onFinding });
  const error = [one.error, other.error].find(isNotFound) ?? one.error ?? other.error;
  if (!one.data || !other.data || isNotFound(error))
    return error ? <NotFound error={error} /> : <Loading what="Loading…" />;
  const [then, now] =
    takenAt(one.data) <= takenAt(other.data) ? [one.data, other.data] : [other.data, one.data];
  const finding = chosen ?? mostSuspicious(now.study.findings)?.finding;
  const projection = then.images[0]?.view_position;
  const image = now.images.find(({ view_position }) => view_position === projection) ?? now.images[0];
  const pane = (job: Job, image: Image | undefined) =>
    image && (
      <ImageCanvas
        image={image}
        finding={image.findings.find((one) => one.finding === finding)}
        cut={cutOf(job, finding)}
        view={{ ...view, split: "single" }}
        change={change}
        key={job.id}
      />
    );
  return (
    <>
      <section className="viewer" ref={frame} aria-label="Images, then and now">
        <Toolbar {...{ view, change, onFullScreen }} heat />
        <Panes
          {...{ view, change }}
          then={[then, pane(then, then.images[0])]}
          now={[now, pane(now, image)]}
        />
      </section>
      <Changes {...{ then, now, finding }} onChoose={setChosen} />
    </>
  );
}

type PanesProps = {
  view: ViewState;
  change: (by: Change) => void;
  then: [Job, ReactNode];
  now: [Job, ReactNode];
};

function Panes({ view, change, then, now }: PanesProps) {
  const swipe = (event: PointerEvent<HTMLElement>) => {
    const box = event.currentTarget.parentElement?.getBoundingClientRect();
    if (event.buttons && box)
      change({ swipe: Math.min(Math.max((event.clientX - box.left) / box.width, 0), 1) });
  };
  const over = view.split === "swipe";
  return (
    <div className={`panes ${view.split}`}>
      {view.split !== "single" && <Pane word="Then" job={then[0]} stage={then[1]} />}
      <Pane word="Now" job={now[0]} stage={now[1]} cut={over ? view.swipe : undefined} />
      {over && (
        <span
          className="swipe-line grab"
          style={{ left: `${view.swipe * 100}%` }}
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
