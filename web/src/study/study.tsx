/** One study: its image with the heatmap, its findings, and what one can do with it. */
import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { Download, FileText, GitCompareArrows, Link2, RotateCw, Trash2 } from "lucide-react";
import { lazy, Suspense, useCallback, useState } from "react";
import { Link, useLocation } from "wouter";
import { type Finding, type Job, Problem } from "../api/client";
import {
  eraseJob,
  isFinal,
  type JobRef,
  type Metrics,
  modelsQuery,
  retryJob,
  useJob,
  usePriors,
  viewPath,
} from "../api/jobs";
import { Button, Confirm } from "../ui/controls";
import { Empty, ErrorNote, Loading, Picture } from "../ui/states";
import { ago, download, FINDINGS, seconds, taken, when } from "../ui/words";
import { BackboneTable, Findings } from "./findings";
import { Progress, State, timings } from "./progress";

const Viewer = lazy(() => import("../viewer/viewer").then(({ Viewer }) => ({ default: Viewer })));

export function Study({ job: ref }: { job: JobRef }) {
  const { data: job, error, refetch } = useJob(ref);
  if (!job)
    return error ? <Missing error={error} onRetry={refetch} /> : <Loading what="Loading the study…" />;
  return <Loaded job={job} at={ref} key={job.id} />;
}

export function Missing({ error, onRetry }: { error: unknown; onRetry?: () => void }) {
  if (!(error instanceof Problem && error.status === 404))
    return <ErrorNote error={error} {...(onRetry && { onRetry })} />;
  return (
    <Empty title="There is no such study here">
      <p>It was erased, or it belongs to somebody else.</p>
      <Link href="/studies">To the worklist</Link>
    </Empty>
  );
}

function Loaded({ job, at }: { job: Job; at: JobRef }) {
  const [place, setPlace] = useState(0);
  const [whole, setWhole] = useState(true);
  const image = job.images[place] ?? job.images[0];
  const many = job.images.length > 1;
  const findings = many && !whole && image ? image.findings : job.study.findings;
  const [chosen, setChosen] = useState<string>();
  const finding = findings.find((one) => one.finding === chosen) ?? top(findings);
  const onFinding = useCallback((index: number) => setChosen(Object.keys(FINDINGS)[index]), []);
  return (
    <div className="study">
      <div className="study-image">
        {image?.state === "failed" && <Empty inside title="There is no image to show" />}
        {image && image.state !== "failed" && (
          <Suspense fallback={<Loading what="Loading the viewer…" />}>
            <Viewer
              key={image.id}
              image={image}
              finding={image.findings.length ? finding : undefined}
              onFinding={onFinding}
            />
          </Suspense>
        )}
        {many && (
          <div className="strip" role="group" aria-label="Images of the study">
            {job.images.map((one, i) => (
              <button
                type="button"
                key={one.id}
                aria-pressed={i === place}
                aria-label={`Image ${i + 1}, ${one.file_name}`}
                onClick={() => setPlace(i)}
              >
                {one.links.image ? (
                  <Picture src={`${one.links.image}?size=128`} alt="" />
                ) : (
                  <span>{i + 1}</span>
                )}
              </button>
            ))}
          </div>
        )}
      </div>
      <aside className="study-side" aria-label="Result">
        <header>
          <h1>{job.study.title || image?.file_name || "Study"}</h1>
          <p className="muted">
            <State state={job.state} />
            {job.study.study_date && <span>taken {taken(job.study, job.created_at)}</span>}
            <span>{job.study.study_date ? `sent ${ago(job.created_at)}` : when(job.created_at)}</span>
          </p>
        </header>
        {many && job.state === "succeeded" && (
          <div className="segments" role="group" aria-label="Findings of">
            <button type="button" aria-pressed={whole} onClick={() => setWhole(true)}>
              Whole study
            </button>
            <button type="button" aria-pressed={!whole} onClick={() => setWhole(false)}>
              This image
            </button>
          </div>
        )}
        {!isFinal(job) && <Progress job={job} />}
        {image?.error && (
          <ErrorNote error={new Problem(422, image.error.code, image.error.detail, image.error.remedy)} />
        )}
        {job.error && job.error.code !== image?.error?.code && (
          <ErrorNote error={new Problem(422, job.error.code, job.error.detail, job.error.remedy)} />
        )}
        {findings.length > 0 && (
          <Findings findings={findings} chosen={finding?.finding} onChoose={setChosen} />
        )}
        {job.expires_at && <p className="muted small">This study is erased on {when(job.expires_at)}.</p>}
        {job.degraded && (
          <p className="note">Without {job.missing_backbones.join(", ")}: the ensemble is weaker.</p>
        )}
        <Result job={job} findings={findings} />
        {at.kind === "studies" && job.state === "succeeded" && <Earlier id={at.key} />}
        <Actions job={job} at={at} />
      </aside>
    </div>
  );
}

/** Earlier studies of the same patient, to compare with. */
function Earlier({ id }: { id: string }) {
  const items = usePriors(id).data?.items ?? [];
  if (!items.length) return null;
  return (
    <section aria-label="Earlier studies">
      <h2>Earlier studies of this patient</h2>
      <ul className="list">
        {items.slice(0, 3).map((item) => (
          <li key={item.id}>
            <Link href={`/compare/${id}/${item.id}`}>Compare with {taken(item, item.created_at)}</Link>
            <span className="muted">{item.top_finding?.positive ? item.top_finding.label : "negative"}</span>
          </li>
        ))}
      </ul>
    </section>
  );
}

function Result({ job, findings }: { job: Job; findings: Finding[] }) {
  const models = useQuery(modelsQuery).data?.items;
  if (job.state !== "succeeded") return null;
  const model = models?.find(({ digest }) => digest === job.bundle.digest);
  const ece = (model?.metrics as Metrics | undefined)?.ensemble?.ece;
  const took = job.finished_at ? (Date.parse(job.finished_at) - Date.parse(job.created_at)) / 1000 : 0;
  return (
    <>
      <BackboneTable findings={findings} model={model} />
      <p className="muted small" title={timings(job)}>
        {ece === undefined
          ? "The probabilities of this bundle have not been checked against outcomes (no calibration figure). "
          : `Calibrated: on test images the probabilities were off by ${(100 * ece).toFixed(1)} points on average (ECE). `}
        A probability says how often such a finding is there in images that look alike to the ensemble, not
        how severe it is. The heatmap shows what raised it, not the borders of a lesion. Bundle{" "}
        <Link href="/model">{`${job.bundle.name} ${job.bundle.version}`}</Link>, analysed in {seconds(took)}.
      </p>
    </>
  );
}

function Actions({ job, at }: { job: Job; at: JobRef }) {
  const client = useQueryClient();
  const [, go] = useLocation();
  const [copied, setCopied] = useState(false);
  const erase = useMutation({
    mutationFn: () => eraseJob(at),
    onSuccess: (_, __, ___) => {
      void client.invalidateQueries({ queryKey: ["jobs"] });
      if (isFinal(job)) go(at.kind === "open" ? "/" : "/studies");
      else void client.invalidateQueries({ queryKey: ["job", at.kind, at.key] });
    },
  });
  const retry = useMutation({
    mutationFn: () => retryJob(at),
    onSuccess: () => client.invalidateQueries({ queryKey: ["job", at.kind, at.key] }),
  });
  const share = async () => {
    await navigator.clipboard.writeText(location.href);
    setCopied(true);
    setTimeout(() => setCopied(false), 2000);
  };
  const done = job.state === "succeeded";
  return (
    <div className="actions">
      {done && (
        <Link href={`${viewPath(at)}/report`} className="button plain">
          <FileText aria-hidden /> Report
        </Link>
      )}
      {done && at.kind === "studies" && (
        <Link href={`/compare/${at.key}`} className="button plain">
          <GitCompareArrows aria-hidden /> Compare
        </Link>
      )}
      {done && (
        <Button onPress={() => download(`${job.id}.json`, "application/json", JSON.stringify(job, null, 2))}>
          <Download aria-hidden /> JSON
        </Button>
      )}
      <Button onPress={share}>
        <Link2 aria-hidden /> {copied ? "Copied" : "Copy link"}
      </Button>
      {(job.state === "failed" || job.state === "cancelled") && (
        <Button onPress={() => retry.mutate()} isPending={retry.isPending}>
          <RotateCw aria-hidden /> Try again
        </Button>
      )}
      <Confirm
        title={isFinal(job) ? "Erase this study?" : "Cancel this analysis?"}
        act={isFinal(job) ? "Erase" : "Cancel it"}
        onConfirm={() => erase.mutate()}
        trigger={
          <Button kind="quiet">
            <Trash2 aria-hidden /> {isFinal(job) ? "Erase" : "Cancel"}
          </Button>
        }
      >
        {isFinal(job)
          ? "The images, the findings and the heatmaps are erased for everybody. This can't be undone."
          : "What has not been looked at yet won't be."}
      </Confirm>
      <ErrorNote error={erase.error ?? retry.error} />
    </div>
  );
}

/** The finding furthest above, or least below, its threshold. */
export function top(findings: Finding[]): Finding | undefined {
  const above = (finding: Finding) => finding.probability - finding.threshold;
  return findings.reduce<Finding | undefined>((a, b) => (a && above(a) >= above(b) ? a : b), undefined);
}
