/** The uploads of this tab: how many are done, and of each its progress, its result or why it failed. */
import { Link } from "wouter";
import { viewPath } from "../api/addresses";
import { useRow } from "../api/jobs";
import { FindingChips } from "../findings/verdict";
import { StateOrProgress } from "../study/progress";
import { Button } from "../ui/controls";
import { ErrorNote } from "../ui/states";
import { percent, plural } from "../ui/words";
import { cancelUploads, clearQueue, isActive, type QueuedUpload, retryUpload, useQueue } from "./queue";
import { isTemporary } from "./send";

export function Uploads() {
  const queue = useQueue();
  if (!queue.length) return null;
  return (
    <section className="card" aria-label="Uploads">
      <div className="row between">
        <h2>Uploads</h2>
        <div className="row">
          {queue.some(isActive) && (
            <Button kind="quiet" onPress={cancelUploads}>
              Cancel
            </Button>
          )}
          {!queue.every(isActive) && (
            <Button kind="quiet" onPress={clearQueue}>
              Clear
            </Button>
          )}
        </div>
      </div>
      {queue.length > 1 && <Total queue={queue} />}
      <ul className="uploads">
        {queue.map((item) => (
          <Row key={item.id} item={item} />
        ))}
      </ul>
    </section>
  );
}

function Total({ queue }: { queue: QueuedUpload[] }) {
  const count = (state: QueuedUpload["state"]) => queue.filter((item) => item.state === state).length;
  const failed = count("failed");
  const share = queue.reduce((sum, item) => sum + (item.state === "failed" ? 1 : item.share), 0);
  return (
    <p className="row" role="status">
      <progress value={share} max={queue.length} aria-label="All uploads" />
      {count("sent")} of {plural(queue.length, "upload")} sent{failed > 0 && `, ${failed} failed`}
    </p>
  );
}

function Row({ item }: { item: QueuedUpload }) {
  return (
    <li>
      <span className="file-name">{item.name}</span>
      {item.state === "waiting" && <span className="muted">Waiting</span>}
      {item.state === "held" && <span className="muted">Waits until you log in</span>}
      {item.state === "sending" && (
        <span className="row">
          <progress value={item.share} aria-label={`Upload of ${item.name}`} />
          {item.share < 1 ? percent(item.share) : "Storing"}
        </span>
      )}
      {item.job && <Result job={item.job} />}
      <ErrorNote error={item.error} onRetry={isTemporary(item.error) ? () => retryUpload(item) : undefined} />
    </li>
  );
}

function Result({ job: ref }: { job: NonNullable<QueuedUpload["job"]> }) {
  const job = useRow(ref);
  const findings = job && ("study" in job ? job.study.findings : job.findings);
  return (
    <span className="row">
      {job && (findings?.length ? <FindingChips findings={findings} /> : <StateOrProgress job={job} />)}
      {job?.error && <span className="reason">{job.error.detail}</span>}
      <Link href={viewPath(ref)}>Open</Link>
    </span>
  );
}
