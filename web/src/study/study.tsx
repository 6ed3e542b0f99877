/** One study: its image, its findings, and what a user can do with it. */
import { ChevronDown, ChevronUp } from "lucide-react";
import { type ReactNode, useCallback, useEffect, useState } from "react";
import { Link, useLocation } from "wouter";
import { type JobRef, ownJob, viewPath } from "../api/addresses";
import { type Finding, type Image, type Job, Problem, type Schemas } from "../api/client";
import { caveats, cutOf, isFinal, isNotFound, SUPERSEDED, useJob, usePriors } from "../api/jobs";
import { metricsOf, useModel } from "../api/models";
import { BackboneTable } from "../findings/backbones";
import { FindingList } from "../findings/list";
import { decisiveImage, mostSuspicious } from "../findings/order";
import { isUnlikely, readWith } from "../findings/reading";
import { FindingChips } from "../findings/verdict";
import { IconButton } from "../ui/controls";
import { useKeys } from "../ui/keys";
import { Empty, ErrorNote, Loading } from "../ui/states";
import { ago, FINDINGS, seconds, taken, when } from "../ui/words";
import { Viewer } from "../viewer/viewer";
import { markRead, neighbour } from "../worklist/reading_order";
import { Actions } from "./actions";
import { ImageStrip, Warnings } from "./images";
import { Progress, State, timings } from "./progress";

export function Study({ job: ref }: { job: JobRef }) {
  const { data: job, error, refetch } = useJob(ref);
  useNeighbourKeys(ref);
  if (!job || isNotFound(error))
    return error ? <NotFound error={error} onRetry={refetch} /> : <Loading what="Loading the study…" />;
  return <Loaded job={job} at={ref} key={job.id} />;
}

export function NotFound({ error, onRetry }: { error: unknown; onRetry?: () => void }) {
  if (!isNotFound(error)) return <ErrorNote error={error} {...(onRetry && { onRetry })} />;
  return (
    <Empty title="Study not found">
      <p>It was deleted, or it belongs to another group.</p>
      <Link href="/studies">Go to the worklist</Link>
    </Empty>
  );
}

/** Which image is shown, and of which finding and findings: of the whole study, the decisive image. */
function useChoice(job: Job) {
  const [picked, setPicked] = useState<number>();
  const [whole, setWhole] = useState(true);
  const [chosen, setChosen] = useState<string>();
  const chosenOf = (findings: Finding[]) =>
    findings.find((one) => one.finding === chosen) ?? mostSuspicious(findings);
  const place = picked ?? decisiveImage(job, chosenOf(job.study.findings));
  const image = job.images[place];
  const findings = job.images.length > 1 && !whole && image ? image.findings : job.study.findings;
  const choose = useCallback(
    (name: string | undefined) => {
      setChosen(name);
      if (whole) setPicked(undefined);
    },
    [whole],
  );
  const showWhole = (now: boolean) => {
    setWhole(now);
    setPicked(now ? undefined : place);
  };
  return { place, image, findings, finding: chosenOf(findings), whole, choose, showWhole, setPicked };
}

function Loaded({ job, at }: { job: Job; at: JobRef }) {
  const { place, image, findings, finding, whole, choose, showWhole, setPicked } = useChoice(job);
  const many = job.images.length > 1;
  const onFinding = useCallback((index: number) => choose(Object.keys(FINDINGS)[index]), [choose]);
  return (
    <div className="study">
      <div className="study-image">
        {image?.state === "failed" && <Empty inside title="This image can't be shown" />}
        {image && image.state !== "failed" && (
          <Viewer
            key={image.id}
            image={image}
            finding={image.findings.length ? finding : undefined}
            cut={cutOf(job, finding?.finding)}
            onFinding={onFinding}
          />
        )}
        {image && <Warnings image={image} />}
        {many && <ImageStrip images={job.images} place={place} onPick={setPicked} />}
      </div>
      <aside className="study-side" aria-label="Result">
        <Title job={job} image={image}>
          {at.kind === "studies" && <Neighbours id={at.key} />}
        </Title>
        {job.superseded_by && at.kind === "studies" && (
          <div className="note later">
            <p>
              {SUPERSEDED} <Link href={viewPath(ownJob(job.superseded_by))}>Open the later result</Link>
            </p>
          </div>
        )}
        {many && job.state === "succeeded" && (
          <div className="segments" role="group" aria-label="Findings of">
            <button type="button" aria-pressed={whole} onClick={() => showWhole(true)}>
              Whole study
            </button>
            <button type="button" aria-pressed={!whole} onClick={() => showWhole(false)}>
              This image
            </button>
          </div>
        )}
        {!isFinal(job) && <Progress job={job} />}
        <Failure of={image?.error} />
        {job.error?.code !== image?.error?.code && <Failure of={job.error} />}
        {findings.length > 0 && (
          <FindingList findings={findings} chosen={finding?.finding} onChoose={choose} />
        )}
        {job.supersedes && at.kind === "studies" && (
          <p className="muted small">
            This result supersedes <Link href={viewPath(ownJob(job.supersedes))}>an earlier one</Link> of the
            same study.
          </p>
        )}
        {job.expires_at && <p className="muted small">This study is deleted on {when(job.expires_at)}.</p>}
        {caveats(job).map((sentence) => (
          <p className="note" key={sentence}>
            {sentence}
          </p>
        ))}
        {job.state === "succeeded" && <Explanation job={job} findings={findings} />}
        {at.kind === "studies" && job.state === "succeeded" && <Earlier id={at.key} />}
        <Actions job={job} at={at} />
      </aside>
    </div>
  );
}

type TitleProps = { job: Job; image: Image | undefined; children: ReactNode };

function Title({ job, image, children }: TitleProps) {
  const { title, study_date } = job.study;
  return (
    <header>
      <div className="row between nowrap">
        <h1>{title || image?.file_name || "Study"}</h1>
        {children}
      </div>
      <p className="muted">
        <State state={job.state} />
        {study_date && <span>taken {taken(job.study, job.created_at)}</span>}
        <span>{study_date ? `sent ${ago(job.created_at)}` : when(job.created_at)}</span>
      </p>
    </header>
  );
}

/** J and K open the next and the previous study of the worklist, also while one is loading. */
function useNeighbourKeys({ kind, key: id }: JobRef) {
  const [, go] = useLocation();
  useKeys(
    useCallback(
      (key) => {
        const step = key === "j" ? 1 : key === "k" ? -1 : undefined;
        const to = kind === "studies" && step ? neighbour(id, step) : undefined;
        if (to) go(`/studies/${to}`);
        return to !== undefined;
      },
      [kind, id, go],
    ),
  );
}

/** The same as buttons. The study that is shown counts as read. */
function Neighbours({ id }: { id: string }) {
  const [, go] = useLocation();
  useEffect(() => markRead(id), [id]);
  const [next, previous] = [neighbour(id, 1), neighbour(id, -1)];
  if (!next && !previous) return null;
  return (
    <span className="row nowrap">
      <IconButton
        label="Previous study"
        keys="K"
        isDisabled={!previous}
        onPress={() => go(`/studies/${previous}`)}
      >
        <ChevronUp />
      </IconButton>
      <IconButton label="Next study" keys="J" isDisabled={!next} onPress={() => go(`/studies/${next}`)}>
        <ChevronDown />
      </IconButton>
    </span>
  );
}

function Failure({ of }: { of: Schemas["ErrorView"] | null | undefined }) {
  return of ? <ErrorNote error={new Problem(422, of.code, of.detail, of.remedy)} /> : null;
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
            <span className="row">
              <FindingChips findings={item.findings} />
            </span>
          </li>
        ))}
      </ul>
    </section>
  );
}

/** What the numbers mean, and what they do not. */
function Explanation({ job, findings }: { job: Job; findings: Finding[] }) {
  const model = useModel(job.bundle.digest);
  const ece = metricsOf(model).ensemble?.ece;
  const ran = new Set(job.images.flatMap((image) => image.ran)).size;
  const took = job.finished_at ? (Date.parse(job.finished_at) - Date.parse(job.created_at)) / 1000 : 0;
  const calibration =
    ece === undefined || job.degraded
      ? `The calibration of this ${job.degraded ? "weaker ensemble" : "bundle"} has not been measured.`
      : `On test images the probabilities were off by ${(100 * ece).toFixed(1)} points on average (ECE).`;
  return (
    <>
      <BackboneTable findings={findings} model={model} />
      <p className="muted small" title={timings(job)}>
        A probability says how often a finding is present in similar images, not how severe it is.{" "}
        {calibration} A heatmap shows what raised the probability, not the borders of a lesion
        {findings.every(isUnlikely) && "; unlikely findings have none"}. Analysed by{" "}
        <Link href="/model">{`${job.bundle.name} ${job.bundle.version}`}</Link> in {seconds(took)}
        {ran > 0 && ran < job.backbones.length && `; ${ran} of ${job.backbones.length} networks ran`}.{" "}
        {readWith(findings, model)}
      </p>
    </>
  );
}
