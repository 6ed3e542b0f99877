/** The report: for each image what was found, where the ensemble looked, and what that is worth. */
import { useQuery } from "@tanstack/react-query";
import { ArrowLeft, Printer } from "lucide-react";
import { Link } from "wouter";
import { type JobRef, viewPath } from "../api/addresses";
import type { Finding, Image, Job, Schemas } from "../api/client";
import { caveats, isNotFound, SUPERSEDED, useJob } from "../api/jobs";
import { aucOf, useModel } from "../api/models";
import { backbonesOf, disagree, impression, isLikely, readWith, timesAverage } from "../findings/reading";
import { Verdict } from "../findings/verdict";
import { meQuery } from "../session/session";
import { NotFound } from "../study/study";
import { Button } from "../ui/controls";
import { Empty, Loading, Picture } from "../ui/states";
import { percent, taken, when } from "../ui/words";

export function Report({ job: ref }: { job: JobRef }) {
  const { data: job, error } = useJob(ref);
  const images = job?.images.filter((one) => one.links.heatmaps) ?? [];
  if (!job || isNotFound(error))
    return error ? <NotFound error={error} /> : <Loading what="Loading the report…" />;
  if (job.state !== "succeeded" || !images.length)
    return (
      <Empty title="The report is not ready">
        <p>It is ready when the analysis has finished.</p>
        <Link href={viewPath(ref)}>Go to the study</Link>
      </Empty>
    );
  return (
    <>
      <div className="row between no-print head">
        <Link href={viewPath(ref)} className="button quiet">
          <ArrowLeft aria-hidden /> Study
        </Link>
        <Button kind="primary" onPress={() => window.print()}>
          <Printer aria-hidden /> Print or save as PDF
        </Button>
      </div>
      {images.map((image) => (
        <article className="report" tabIndex={0} aria-label={`Report on ${image.file_name}`} key={image.id}>
          <header>
            <div>
              <h1>{job.study.title || image.file_name}</h1>
              <p>{describe(job, image)}</p>
            </div>
            <strong className="report-brand">Thorax</strong>
          </header>
          <p className="report-warning">
            {[job.disclaimer, job.superseded_by && SUPERSEDED, ...caveats(job)].filter(Boolean).join("\n")}
          </p>
          <p>
            <strong>Impression.</strong> {impression(image.findings)}
          </p>
          {image.warnings.map(({ code, detail }) => (
            <p key={code}>
              <strong>Warning.</strong> {detail}
            </p>
          ))}
          <Pictures image={image} />
          {images.length > 1 && <h2>This image</h2>}
          <Table findings={image.findings} job={job} />
          {images.length > 1 && image === images[0] && (
            <>
              <h2>Whole study, of each finding the highest</h2>
              <Table findings={job.study.findings} job={job} />
            </>
          )}
          <Origin job={job} />
        </article>
      ))}
    </>
  );
}

/** An image's view and size, its place among the others, and when the study was taken. */
function describe(job: Job, image: Image): string {
  const { length } = job.images;
  const { study_date } = job.study;
  return [
    length > 1 && `image ${image.position + 1} of ${length}`,
    job.study.accession && `accession ${job.study.accession}`,
    image.view_position && `view ${image.view_position}`,
    image.columns && `${image.columns} × ${image.rows}`,
    study_date && `taken ${taken(job.study, job.created_at)}`,
    `received ${when(job.created_at)}`,
  ]
    .filter(Boolean)
    .join(", ");
}

function Pictures({ image }: { image: Image }) {
  return (
    <div className="report-pictures">
      <figure>
        <Picture paper src={`${image.links.image}?size=768`} alt={`X-ray ${image.file_name}`} />
        <figcaption>Image</figcaption>
      </figure>
      {image.findings.filter(isLikely).map(({ finding, label, probability }) => (
        <figure key={finding}>
          <Picture paper src={`${image.links[`overlay:${finding}`]}?size=512`} alt={`Heatmap of ${label}`} />
          <figcaption>
            {label}, {percent(probability, 1)}
          </figcaption>
        </figure>
      ))}
    </div>
  );
}

type Points = Schemas["FindingPoints"] | undefined;

const COLUMNS: [string, (finding: Finding, points: Points) => string][] = [
  ["Probability", ({ probability }) => percent(probability, 1)],
  ["Likely from", ({ threshold }) => percent(threshold, 1)],
  ["Sensitivity", (_, points) => points?.likely.sensitivity.value.toFixed(2) ?? ""],
  ["Specificity", (_, points) => points?.likely.specificity.value.toFixed(2) ?? ""],
  ["Compared", timesAverage],
  [
    "Networks",
    (finding) =>
      disagree(finding) ? "disagree" : Object.keys(backbonesOf(finding)).length > 1 ? "agree" : "",
  ],
];

function Table({ findings, job }: { findings: Finding[]; job: Job }) {
  const points = useModel(job.bundle.digest)?.operating_points;
  // Only of the threshold that was used, and only the whole ensemble was measured.
  const pointsOf = ({ finding, threshold }: Finding): Points => {
    const own = points?.[finding];
    return own && !job.degraded && Math.abs(own.likely.threshold - threshold) < 1e-5 ? own : undefined;
  };
  const columns = COLUMNS.filter(([, cell]) => findings.some((one) => cell(one, pointsOf(one))));
  return (
    <table>
      <thead>
        <tr>
          {["Finding", "Verdict", ...columns.map(([name]) => name)].map((name) => (
            <th scope="col" key={name}>
              {name}
            </th>
          ))}
        </tr>
      </thead>
      <tbody>
        {findings.map((finding) => (
          <tr key={finding.finding}>
            <th scope="row">{finding.label}</th>
            <td>
              <Verdict finding={finding} />
            </td>
            {columns.map(([name, cell]) => (
              <td key={name}>{cell(finding, pointsOf(finding))}</td>
            ))}
          </tr>
        ))}
      </tbody>
    </table>
  );
}

const MEASURED =
  "Sensitivity and specificity are of the operating point “likely”, on the images that the bundle was calibrated on.";

/** Who printed what, by which bundle it was analysed, and how good that was measured to be. */
function Origin({ job }: { job: Job }) {
  const model = useModel(job.bundle.digest);
  const me = useQuery(meQuery).data;
  const { name, version, digest } = job.bundle;
  // The whole ensemble was measured.
  const points = model?.operating_points && !job.degraded;
  const measured = model && !job.degraded ? `, ${aucOf(model)}` : "";
  return (
    <footer>
      <p>
        Bundle {name} {version} ({digest.slice(0, 12)}){measured}. Analysed {when(job.finished_at)}.{" "}
        {readWith(job.study.findings, model)} {points && MEASURED}
      </p>
      <p>
        Job {job.id}
        {me && `, printed by ${me.name}`}, {when(new Date().toISOString())}.
      </p>
    </footer>
  );
}
