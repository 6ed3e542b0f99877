/** How far an analysis is: queue, decoding, each backbone, ensemble. */
import { CircleCheck } from "lucide-react";
import type { Job } from "../api/client";
import { useActiveModel } from "../api/jobs";
import { plural, seconds } from "../ui/words";

const STATES: Record<string, string> = {
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

export function Stage({ job }: { job: Job }) {
  const total = useSteps(job);
  if (job.state !== "running") return <State state={job.state} />;
  return <progress value={job.progress.done} max={total} aria-label="Analysis" />;
}

/** All the steps there will be: the ledger learns of them only as the work gets there. */
function useSteps(job: Job): number {
  const { model } = useActiveModel();
  const images = job.images.length;
  return Math.max(job.progress.total, images + images * (model?.backbones.length ?? 5) + 1);
}

export function Progress({ job }: { job: Job }) {
  const { model } = useActiveModel();
  const images = job.images.length;
  const networks = images * (model?.backbones.length ?? 5);
  const total = useSteps(job);
  const { done } = job.progress;
  const started = job.state !== "queued" || done > 0;
  const seen = Math.min(Math.max(done - images, 0), networks);
  const stages = [
    { name: "Queue", done: started, now: !started },
    { name: `Decode ${plural(images, "image")}`, done: done >= images, now: started && done < images },
    {
      name: `Backbones ${seen} of ${networks}`,
      done: seen === networks,
      now: done >= images && seen < networks,
    },
    { name: "Ensemble", done: done >= total, now: seen === networks && done < total },
  ];
  return (
    <div className="progress card" role="status" aria-live="polite">
      <h2>{started ? "Analysing…" : "Waiting for a free worker…"}</h2>
      <progress value={done} max={total} aria-label="Steps done" />
      <ol>
        {stages.map(({ name, done, now }) => (
          <li key={name} className={done ? "done" : now ? "now" : ""}>
            {done ? (
              <CircleCheck aria-label="done" />
            ) : (
              <span className={now ? "spinner" : "pip"} aria-hidden />
            )}
            {name}
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
