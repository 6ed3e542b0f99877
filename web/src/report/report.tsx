/** Paper: for each image where the ensemble looked and what it found, and what that is worth. */
import { useMutation, useQuery } from "@tanstack/react-query";
import { ArrowLeft, Download, Printer } from "lucide-react";
import { Link } from "wouter";
import { backbonesOf, type Finding, type Job, type Schemas } from "../api/client";
import { caveats, isGone, type JobRef, useActiveModel, useJob, viewPath } from "../api/jobs";
import { meQuery } from "../session/session";
import { Verdict } from "../study/findings";
import { Missing } from "../study/study";
import { Button } from "../ui/controls";
import { Empty, ErrorNote, Loading, Picture } from "../ui/states";
import { download, percent, taken, when } from "../ui/words";

type Image = Schemas["ImageView"];

/** What a table of findings says, on the page and in the PDF file. */
export const COLUMNS: [string, (finding: Finding) => string][] = [
  ["Finding", ({ label }) => label],
  ["Verdict", ({ positive }) => (positive ? "Positive" : "Negative")],
  ["Probability", ({ probability }) => percent(probability, 1)],
  ["Threshold", ({ threshold }) => percent(threshold, 1)],
  [
    "Backbones",
    (finding) => {
      const each = Object.values(backbonesOf(finding)).map((share) => Math.round(share * 100));
      return each.length ? `${Math.min(...each)}–${Math.max(...each)} %` : "—";
    },
  ],
  ["Disagreement", ({ disagreement }) => `± ${percent(disagreement, 1)}`],
];

/** An image's view, size and place among the others, and when the study was taken. */
export function about(job: Job, image: Image): string {
  const { length } = job.images;
  const parts = [
    length > 1 && `image ${image.position + 1} of ${length}`,
    image.view_position,
    image.columns && `${image.columns} × ${image.rows}`,
    job.study.study_date && `taken ${taken(job.study, job.created_at)}`,
    `received ${when(job.created_at)}`,
  ];
  return parts.filter(Boolean).join(", ");
}

export function Report({ job: ref }: { job: JobRef }) {
  const { data: job, error } = useJob(ref, false);
  const { model, auc } = useActiveModel();
  const me = useQuery(meQuery).data;
  const images = job?.images.filter((one) => one.links.heatmaps) ?? [];
  // What was measured is the whole ensemble.
  const measured = (model?.digest === job?.bundle.digest && !job?.degraded && auc) || "";
  const pdf = useMutation({
    mutationFn: async () => {
      const { reportPdf } = await import("./pdf");
      if (job) download(`${job.id}.pdf`, "application/pdf", await reportPdf(job, images, measured));
    },
  });
  if (!job || isGone(error))
    return error ? <Missing error={error} /> : <Loading what="Loading the report…" />;
  if (job.state !== "succeeded" || !images.length)
    return (
      <Empty title="There is nothing to report yet">
        <Link href={viewPath(ref)}>To the study</Link>
      </Empty>
    );
  return (
    <>
      <div className="row between no-print head">
        <Link href={viewPath(ref)} className="button quiet">
          <ArrowLeft aria-hidden /> Study
        </Link>
        <div className="row">
          <Button onPress={() => pdf.mutate()} isPending={pdf.isPending}>
            <Download aria-hidden /> PDF
          </Button>
          <Button kind="primary" onPress={() => window.print()}>
            <Printer aria-hidden /> Print
          </Button>
        </div>
      </div>
      <ErrorNote error={pdf.error} />
      {images.map((image) => (
        <article className="report" tabIndex={0} aria-label={`Report on ${image.file_name}`} key={image.id}>
          <header>
            <div>
              <h1>{job.study.title || image.file_name}</h1>
              <p>{about(job, image)}</p>
            </div>
            <strong className="report-brand">Thorax</strong>
          </header>
          <p className="report-warning">{[job.disclaimer, ...caveats(job)].join("\n")}</p>
          <Pictures image={image} />
          {images.length > 1 && <h2>This image</h2>}
          <Table findings={image.findings} />
          {images.length > 1 && image === images[0] && (
            <>
              <h2>Whole study, of each finding the highest</h2>
              <Table findings={job.study.findings} />
            </>
          )}
          <footer>
            <p>
              Bundle {job.bundle.name} {job.bundle.version} ({job.bundle.digest.slice(0, 12)})
              {measured && `, ${measured}`}. Analysed {when(job.finished_at)}.
            </p>
            <p>
              Job {job.id}
              {me && `, printed by ${me.name}`}, {when(new Date().toISOString())}.
            </p>
          </footer>
        </article>
      ))}
    </>
  );
}

function Pictures({ image }: { image: Image }) {
  return (
    <div className="report-pictures">
      <figure>
        <Picture paper src={`${image.links.image}?size=768`} alt={`X-ray ${image.file_name}`} />
        <figcaption>Image</figcaption>
      </figure>
      {image.findings.map(({ finding, label, probability }) => (
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

function Table({ findings }: { findings: Finding[] }) {
  return (
    <table>
      <thead>
        <tr>
          {COLUMNS.map(([name]) => (
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
            {COLUMNS.slice(2).map(([name, cell]) => (
              <td key={name}>{cell(finding)}</td>
            ))}
          </tr>
        ))}
      </tbody>
    </table>
  );
}
