/** One page of paper: the image, where the ensemble looked, what it found, and what that is worth. */
import { useMutation, useQuery } from "@tanstack/react-query";
import { ArrowLeft, Download, Printer } from "lucide-react";
import { Link } from "wouter";
import { backbonesOf } from "../api/client";
import { type JobRef, useActiveModel, useJob, viewPath } from "../api/jobs";
import { meQuery } from "../session/session";
import { Verdict } from "../study/findings";
import { Button } from "../ui/controls";
import { Empty, ErrorNote, Loading, Picture } from "../ui/states";
import { download, percent, when } from "../ui/words";

export function Report({ job: ref }: { job: JobRef }) {
  const { data: job, error } = useJob(ref, false);
  const { model, auc } = useActiveModel();
  const me = useQuery(meQuery).data;
  const image = job?.images.find((one) => one.links.heatmaps);
  const measured = (model?.digest === job?.bundle.digest && auc) || "";
  const pdf = useMutation({
    mutationFn: async () => {
      const { reportPdf } = await import("./pdf");
      if (job && image) download(`${job.id}.pdf`, "application/pdf", await reportPdf(job, image, measured));
    },
  });
  if (!job) return error ? <ErrorNote error={error} /> : <Loading what="Loading the report…" />;
  if (job.state !== "succeeded" || !image) return <Empty title="There is nothing to report yet" />;
  const { findings } = job.study;
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
      <article className="report" tabIndex={0} aria-label="Report">
        <header>
          <div>
            <h1>{job.study.title || image.file_name}</h1>
            <p>
              {image.view_position && `${image.view_position}, `}
              {image.columns} × {image.rows}
              {job.images.length > 1 && `, first of ${job.images.length} images`} · received{" "}
              {when(job.created_at)}
            </p>
          </div>
          <strong className="report-brand">Thorax</strong>
        </header>
        <p className="report-warning">{job.disclaimer}</p>
        <div className="report-pictures">
          <figure>
            <Picture src={`${image.links.image}?size=768`} alt={`X-ray ${image.file_name}`} />
            <figcaption>Image</figcaption>
          </figure>
          {findings.map((finding) => (
            <figure key={finding.finding}>
              <Picture
                src={`${image.links[`overlay:${finding.finding}`]}?size=512`}
                alt={`Heatmap of ${finding.label}`}
              />
              <figcaption>
                {finding.label}, {percent(finding.probability)}
              </figcaption>
            </figure>
          ))}
        </div>
        <table>
          <thead>
            <tr>
              <th scope="col">Finding</th>
              <th scope="col">Verdict</th>
              <th scope="col">Probability</th>
              <th scope="col">Threshold</th>
              <th scope="col">Backbones</th>
              <th scope="col">Disagreement</th>
            </tr>
          </thead>
          <tbody>
            {findings.map((finding) => {
              const each = Object.values(backbonesOf(finding)).map((share) => Math.round(share * 100));
              return (
                <tr key={finding.finding}>
                  <th scope="row">{finding.label}</th>
                  <td>
                    <Verdict finding={finding} />
                  </td>
                  <td>{percent(finding.probability, 1)}</td>
                  <td>{percent(finding.threshold, 1)}</td>
                  <td>{each.length ? `${Math.min(...each)}–${Math.max(...each)} %` : "—"}</td>
                  <td>± {percent(finding.disagreement)}</td>
                </tr>
              );
            })}
          </tbody>
        </table>
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
    </>
  );
}
