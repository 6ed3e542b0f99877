/** The report as a PDF file, written by hand: one A4 page of Helvetica and JPEGs (ISO 32000-1, 7.5). */
import { backbonesOf, bytes, type Job, type Schemas } from "../api/client";
import { percent, when } from "../ui/words";

const [WIDTH, HEIGHT, MARGIN] = [595, 842, 42];
const CELL = (WIDTH - 2 * MARGIN - 20) / 3;
const COLUMNS = [0, 120, 190, 270, 340, 430];

type Picture = { width: number; height: number; data: Uint8Array };

/** One page, as bytes to save. */
export async function reportPdf(job: Job, image: Schemas["ImageView"], measured: string): Promise<Blob> {
  const { findings } = job.study;
  const urls = [image.links.image, ...findings.map(({ finding }) => image.links[`overlay:${finding}`])];
  const pictures = await Promise.all(urls.map((url) => jpeg(`${url}?size=512`)));
  const page: string[] = [];
  const write = (x: number, y: number, size: number, words: string, bold = false) =>
    page.push(`BT /${bold ? "B" : "F"} ${size} Tf ${x} ${y} Td ${quoted(words)} Tj ET`);

  write(MARGIN, 785, 17, (job.study.title || image.file_name).slice(0, 50), true);
  write(WIDTH - MARGIN - 45, 785, 12, "Thorax", true);
  const size = image.columns ? `${image.columns} x ${image.rows}, ` : "";
  const view = image.view_position ? `${image.view_position}, ` : "";
  write(MARGIN, 768, 9, `${view}${size}received ${when(job.created_at)}`);
  write(MARGIN, 750, 10, job.disclaimer, true);
  pictures.forEach((picture, i) => {
    const [x, y] = [MARGIN + (i % 3) * (CELL + 10), 735 - CELL - Math.floor(i / 3) * (CELL + 20)];
    const scale = CELL / Math.max(picture.width, picture.height);
    const [w, h] = [picture.width * scale, picture.height * scale];
    page.push(`q ${w} 0 0 ${h} ${x + (CELL - w) / 2} ${y + (CELL - h) / 2} cm /I${i} Do Q`);
    const finding = findings[i - 1];
    write(x, y - 11, 8, finding ? `${finding.label}, ${percent(finding.probability)}` : "Image");
  });
  const top = 735 - 2 * (CELL + 20) - 20;
  const row = (y: number, cells: string[], bold = false) =>
    cells.forEach((cell, i) => {
      write(MARGIN + (COLUMNS[i] ?? 0), y, 9, cell, bold);
    });
  row(top, ["Finding", "Verdict", "Probability", "Threshold", "Backbones", "Disagreement"], true);
  findings.forEach((finding, i) => {
    const each = Object.values(backbonesOf(finding)).map((share) => Math.round(share * 100));
    const range = each.length ? `${Math.min(...each)} to ${Math.max(...each)} %` : "-";
    const verdict = finding.positive ? "Positive" : "Negative";
    const { probability, threshold, disagreement } = finding;
    row(top - 17 * (i + 1), [
      finding.label,
      verdict,
      percent(probability, 1),
      percent(threshold, 1),
      range,
      `+/- ${percent(disagreement)}`,
    ]);
  });
  const { name, version, digest } = job.bundle;
  const last = top - 17 * 7;
  write(MARGIN, last, 8, `Bundle ${name} ${version} (${digest.slice(0, 12)})${measured && `, ${measured}`}`);
  write(MARGIN, last - 12, 8, `Analysed ${when(job.finished_at)}. Job ${job.id}`);
  return assemble(page.join("\n"), pictures);
}

async function jpeg(url: string): Promise<Picture> {
  const bitmap = await createImageBitmap(new Blob([await bytes(url)]));
  const canvas = new OffscreenCanvas(bitmap.width, bitmap.height);
  canvas.getContext("2d")?.drawImage(bitmap, 0, 0);
  const blob = await canvas.convertToBlob({ type: "image/jpeg", quality: 0.9 });
  return { width: bitmap.width, height: bitmap.height, data: new Uint8Array(await blob.arrayBuffer()) };
}

/** A literal string; what Latin-1 has no letter for becomes a question mark. */
const quoted = (words: string) =>
  `(${words
    .replace(/[\\()]/g, "\\$&")
    .replace(/–/g, "-")
    .replace(/[^\x20-\xff]/g, "?")})`;

function assemble(content: string, pictures: Picture[]): Blob {
  const font = (name: string) =>
    `<< /Type /Font /Subtype /Type1 /BaseFont /${name} /Encoding /WinAnsiEncoding >>`;
  const images = pictures.map((_, i) => `/I${i} ${7 + i} 0 R`).join(" ");
  const resources = `<< /Font << /F 5 0 R /B 6 0 R >> /XObject << ${images} >> >>`;
  const parts: Uint8Array[] = [];
  const offsets: number[] = [];
  let length = 0;
  const add = (part: string | Uint8Array) => {
    const data = typeof part === "string" ? Uint8Array.from(part, (letter) => letter.charCodeAt(0)) : part;
    parts.push(data);
    length += data.length;
  };
  const object = (dictionary: string, stream?: Uint8Array | string) => {
    offsets.push(length);
    add(`${offsets.length} 0 obj\n${dictionary}\n`);
    if (stream !== undefined) {
      add("stream\n");
      add(stream);
      add("\nendstream\n");
    }
    add("endobj\n");
  };
  add("%PDF-1.4\n");
  object("<< /Type /Catalog /Pages 2 0 R >>");
  object("<< /Type /Pages /Kids [3 0 R] /Count 1 >>");
  const box = `/MediaBox [0 0 ${WIDTH} ${HEIGHT}]`;
  object(`<< /Type /Page /Parent 2 0 R ${box} /Contents 4 0 R /Resources ${resources} >>`);
  object(`<< /Length ${content.length} >>`, content);
  object(font("Helvetica"));
  object(font("Helvetica-Bold"));
  for (const { width, height, data } of pictures) {
    const how = "/ColorSpace /DeviceRGB /BitsPerComponent 8 /Filter /DCTDecode";
    const what = `/Type /XObject /Subtype /Image /Width ${width} /Height ${height}`;
    object(`<< ${what} ${how} /Length ${data.length} >>`, data);
  }
  const start = length;
  const lines = offsets.map((offset) => `${String(offset).padStart(10, "0")} 00000 n \n`).join("");
  const count = offsets.length + 1;
  add(`xref\n0 ${count}\n0000000000 65535 f \n${lines}`);
  add(`trailer\n<< /Size ${count} /Root 1 0 R >>\nstartxref\n${start}\n%%EOF\n`);
  return new Blob(parts as BlobPart[], { type: "application/pdf" });
}
