/** One study: its image with the heatmap, its findings, and what one can do with it. */
import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { Download, FileText, GitCompareArrows, Link2, RotateCw, Trash2, TriangleAlert } from "lucide-react";
import { lazy, Suspense, useCallback, useState } from "react";
import { Link, useLocation } from "wouter";
import { type Finding, type Job, Problem } from "../api/client";
import {
  caveats,
  eraseJob,
  forget,
  isFinal,
  isGone,
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
  if (!job || isGone(error))
    return error ? <Missing error={error} onRetry={refetch} /> : <Loading what="Loading the study…" />;
  return <Loaded job={job} at={ref} key={job.id} />;
}

export function Missing({ error, onRetry }: { error: unknown; onRetry?: () => void }) {
  if (!isGone(error)) return <ErrorNote error={error} {...(onRetry && { onRetry })} />;
  return (
    <Empty title="There is no such study here">
      <p>It was erased, or it belongs to somebody else.</p>
      <Link href="/studies">To the worklist</Link>
    </Empty>
  );
}

function Loaded({ job, at }: { job: Job; at: JobRef }) {
  const [picked, setPicked] = useState<number>();
  const [whole, setWhole] = useState(true);
  const [chosen, setChosen] = useState<string>();
  const many = job.images.length > 1;
  const of = (findings: Finding[]) => findings.find((one) => one.finding === chosen) ?? top(findings);
  const place = picked ?? decisive(job, of(job.study.findings));
  const image = job.images[place];
  const findings = many && !whole && image ? image.findings : job.study.findings;
  const finding = of(findings);
  const choose = useCallback(
    (name: string | undefined) => {
      setChosen(name);
      if (whole) setPicked(undefined); // of the whole study, the image that decided is shown
    },
    [whole],
  );
  const look = (all: boolean) => {
    setWhole(all);
    setPicked(all ? undefined : place);
  };
  const onFinding = useCallback((index: number) => choose(Object.keys(FINDINGS)[index]), [choose]);
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
                aria-label={`Image ${i + 1}, ${one.file_name}${one.state === "failed" ? ", could not be analysed" : ""}`}
                onClick={() => setPicked(i)}
              >
                {one.state === "failed" ? (
                  <TriangleAlert aria-hidden />
                ) : one.links.image ? (
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
            <button type="button" aria-pressed={whole} onClick={() => look(true)}>
              Whole study
            </button>
            <button type="button" aria-pressed={!whole} onClick={() => look(false)}>
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
        {findings.length > 0 && <Findings findings={findings} chosen={finding?.finding} onChoose={choose} />}
        {job.expires_at && <p className="muted small">This study is erased on {when(job.expires_at)}.</p>}
        {caveats(job).map((sentence) => (
          <p className="note" key={sentence}>
            {sentence}
          </p>
        ))}
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
            <Link href={`/compare/${id}/${item.id}`}>
              Compare with {item.study_date ? "" : "one "}
              {taken(item, item.created_at)}
            </Link>
            <span className="muted">
              {item.top_finding?.positive ? item.top_finding.label : "none of the five"}
            </span>
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
        {ece === undefined || job.degraded
          ? `The probabilities of this ${job.degraded ? "weaker ensemble" : "bundle"} have not been checked against outcomes (no calibration figure). `
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
  const intent = isFinal(job) ? "erase" : "cancel";
  // What the dialog asks stays what it was when it opened: the job may end before there is an answer.
  const [asked, setAsked] = useState<keyof typeof REMOVALS>(intent);
  const removal = REMOVALS[asked];
  const remove = useMutation({
    mutationFn: (only: keyof typeof REMOVALS) => eraseJob(at, only),
    onSuccess: (_, only) => {
      void client.invalidateQueries({ queryKey: ["jobs"] });
      if (only === "cancel") return client.invalidateQueries({ queryKey: ["job", at.kind, at.key] });
      go(at.kind === "open" ? "/" : "/studies");
      forget(client, at, job);
    },
    onError: () => client.invalidateQueries({ queryKey: ["job", at.kind, at.key] }),
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
        title={removal.title}
        act={removal.act}
        onConfirm={() => remove.mutate(asked)}
        trigger={
          <Button kind="quiet" onPress={() => setAsked(intent)}>
            <Trash2 aria-hidden /> {REMOVALS[intent].word}
          </Button>
        }
      >
        {removal.what}
      </Confirm>
      <ErrorNote error={remove.error ?? retry.error} />
    </div>
  );
}

/** What is asked before a job is taken away, by what the server is asked for. */
const REMOVALS = {
  cancel: {
    word: "Cancel",
    title: "Cancel this analysis?",
    act: "Cancel it",
    what: "What has not been looked at yet won't be.",
  },
  erase: {
    word: "Erase",
    title: "Erase this study?",
    act: "Erase",
    what: "The images, the findings and the heatmaps are erased for everybody. This can't be undone.",
  },
} as const;

/** The place of the image with the highest probability of a finding: the study's is that image's. */
function decisive(job: Job, finding: Finding | undefined): number {
  const each = job.images.map(
    ({ findings }) => findings.find((one) => one.finding === finding?.finding)?.probability ?? -1,
  );
  return each.indexOf(Math.max(...each));
}

/** The finding furthest above, or least below, its threshold. */
export function top(findings: Finding[]): Finding | undefined {
  const above = (finding: Finding) => finding.probability - finding.threshold;
  return findings.reduce<Finding | undefined>((a, b) => (a && above(a) >= above(b) ? a : b), undefined);
}
