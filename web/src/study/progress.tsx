/** How far an analysis is: queue, decoding, each network, ensemble. */
import { CircleCheck } from "lucide-react";
import type { Job, JobSummary } from "../api/client";
import { seconds } from "../ui/words";

export const STATES: Record<string, string> = {
  queued: "Queued",
  running: "Running",
  succeeded: "Done",
  failed: "Failed",
  cancelled: "Cancelled",
};

/** A job's state in a word, with a dot. */
export function State({ state }: { state: string }) {
  return <span className={`state ${state}`}>{STATES[state] ?? state}</span>;
}

/** All the steps there will be; `progress.total` knows of later ones only once work gets there. */
const steps = ({ images, stages }: Job) => images.length * Math.max(stages.length - 1, 1) + 1;

export function StateOrProgress({ job }: { job: Job | JobSummary }) {
  if (job.state !== "running") return <State state={job.state} />;
  const all = "stages" in job ? steps(job) : Math.max(job.progress.total, 1);
  return <progress value={job.progress.done} max={all} aria-label="Analysis" />;
}

const KINDS: Record<string, string> = { prepare: "Decode", aggregate: "Ensemble" };

/** Each stage by its name. A stage counts as at work once the one before it is done: workers begin at once. */
export function Progress({ job }: { job: Job }) {
  const images = job.images.length;
  const started = job.state !== "queued" || job.progress.done > 0;
  const decoded = job.stages.find(({ kind }) => kind === "prepare")?.done ?? 0;
  const stages = job.stages.map(({ kind, backbone, done, running }) => {
    const all = kind === "aggregate" ? 1 : images;
    const ready = kind === "prepare" ? started : kind === "infer" && decoded === images;
    const count = all > 1 ? `${done} of ${all}` : "";
    return { name: backbone ?? KINDS[kind] ?? kind, count, done: done >= all, now: ready || running > 0 };
  });
  const rows = [{ name: "Queue", count: "", done: started, now: !started }, ...stages];
  return (
    <div className="progress card" role="status" aria-live="polite">
      <h2>{started ? "Analysing…" : "Waiting for a free worker…"}</h2>
      <progress value={job.progress.done} max={steps(job)} aria-label="Steps done" />
      <ol>
        {rows.map(({ name, count, done, now }) => (
          <li key={name} className={done ? "done" : now ? "now" : ""}>
            {done ? (
              <CircleCheck aria-label="done" />
            ) : (
              <span className={now ? "spinner" : "pip"} aria-hidden />
            )}
            {name} <span className="muted">{count}</span>
          </li>
        ))}
      </ol>
    </div>
  );
}

/** “queued 0.1 s, prepare 0.2 s, …” */
export function timings(job: Job): string {
  return Object.entries(job.timings)
    .filter(([, value]) => typeof value === "number")
    .map(([name, value]) => `${name.replace(/_s$/, "").replace(/_/g, " ")} ${seconds(value as number)}`)
    .join(" · ");
}
