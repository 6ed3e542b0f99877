/** The report as a PDF file, written by hand: pages of A4, Helvetica and JPEGs (ISO 32000-1, 7.5). */
import { bytes, type Finding, type Job, type Schemas } from "../api/client";
import { caveats } from "../api/jobs";
import { percent, when } from "../ui/words";
import { about, COLUMNS } from "./report";

const [WIDTH, HEIGHT, MARGIN] = [595, 842, 42];
const CELL = (WIDTH - 2 * MARGIN - 20) / 3;
const PLACES = [0, 120, 190, 270, 340, 430];

type Image = Schemas["ImageView"];
type Picture = { width: number; height: number; data: Uint8Array };
type Page = { content: string; pictures: Picture[] };

/** A page for each image, as bytes to save. */
export async function reportPdf(job: Job, images: Image[], measured: string): Promise<Blob> {
  const pages: Page[] = [];
  for (const image of images)
    pages.push(await imagePage(job, image, measured, pages.length === 0 && images.length > 1));
  return assemble(pages);
}

async function imagePage(job: Job, image: Image, measured: string, summary: boolean): Promise<Page> {
  const { findings } = image;
  const urls = [image.links.image, ...findings.map(({ finding }) => image.links[`overlay:${finding}`])];
  const pictures = await Promise.all(urls.map((url) => jpeg(`${url}?size=512`)));
  const lines: string[] = [];
  const write = (x: number, y: number, size: number, words: string, bold = false) =>
    lines.push(`BT /${bold ? "B" : "F"} ${size} Tf ${x} ${y} Td ${quoted(words)} Tj ET`);

  write(MARGIN, 785, 17, (job.study.title || image.file_name).slice(0, 50), true);
  write(WIDTH - MARGIN - 45, 785, 12, "Thorax", true);
  write(MARGIN, 768, 9, about(job, image));
  write(MARGIN, 750, 10, job.disclaimer, true);
  const lacks = caveats(job);
  lacks.forEach((sentence, i) => {
    write(MARGIN, 737 - 12 * i, 9, sentence, true);
  });
  const ceiling = 735 - 12 * lacks.length;
  pictures.forEach((picture, i) => {
    const [x, y] = [MARGIN + (i % 3) * (CELL + 10), ceiling - CELL - Math.floor(i / 3) * (CELL + 20)];
    const scale = CELL / Math.max(picture.width, picture.height);
    const [w, h] = [picture.width * scale, picture.height * scale];
    lines.push(`q ${w} 0 0 ${h} ${x + (CELL - w) / 2} ${y + (CELL - h) / 2} cm /I${i} Do Q`);
    const finding = findings[i - 1];
    write(x, y - 11, 8, finding ? `${finding.label}, ${percent(finding.probability, 1)}` : "Image");
  });
  let y = ceiling - 2 * (CELL + 20) - 20;
  const row = (cells: string[], bold = false) => {
    cells.forEach((cell, i) => {
      write(MARGIN + (PLACES[i] ?? 0), y, 9, cell, bold);
    });
    y -= 16;
  };
  const table = (title: string, findings: Finding[]) => {
    row([title, ...COLUMNS.slice(1).map(([name]) => name)], true);
    for (const finding of findings) row(COLUMNS.map(([, cell]) => cell(finding)));
    y -= 10;
  };
  table(summary ? "This image" : "Finding", findings);
  if (summary) table("Whole study", job.study.findings);
  const { name, version, digest } = job.bundle;
  write(MARGIN, y, 8, `Bundle ${name} ${version} (${digest.slice(0, 12)})${measured && `, ${measured}`}`);
  write(MARGIN, y - 12, 8, `Analysed ${when(job.finished_at)}. Job ${job.id}`);
  return { content: lines.join("\n"), pictures };
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
    .replace(/[–—]/g, "-")
    .replace(/[^\x20-\xff]/g, "?")})`;

function assemble(pages: Page[]): Blob {
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
    return offsets.length;
  };
  const font = (name: string) =>
    object(`<< /Type /Font /Subtype /Type1 /BaseFont /${name} /Encoding /WinAnsiEncoding >>`);
  // Each page is two objects after its pictures, so that the tree, object 2, can name the pages beforehand.
  let next = 5;
  const places = pages.map(({ pictures }) => {
    next += pictures.length + 2;
    return next - 1;
  });
  add("%PDF-1.4\n");
  object("<< /Type /Catalog /Pages 2 0 R >>");
  object(`<< /Type /Pages /Kids [${places.map((at) => `${at} 0 R`).join(" ")}] /Count ${pages.length} >>`);
  const fonts = `/F ${font("Helvetica")} 0 R /B ${font("Helvetica-Bold")} 0 R`;
  for (const { content, pictures } of pages) {
    const images = pictures.map(({ width, height, data }, i) => {
      const how = "/ColorSpace /DeviceRGB /BitsPerComponent 8 /Filter /DCTDecode";
      const what = `/Type /XObject /Subtype /Image /Width ${width} /Height ${height}`;
      return `/I${i} ${object(`<< ${what} ${how} /Length ${data.length} >>`, data)} 0 R`;
    });
    const text = object(`<< /Length ${content.length} >>`, content);
    const resources = `<< /Font << ${fonts} >> /XObject << ${images.join(" ")} >> >>`;
    const box = `/MediaBox [0 0 ${WIDTH} ${HEIGHT}]`;
    object(`<< /Type /Page /Parent 2 0 R ${box} /Contents ${text} 0 R /Resources ${resources} >>`);
  }
  const start = length;
  const lines = offsets.map((offset) => `${String(offset).padStart(10, "0")} 00000 n \n`).join("");
  const count = offsets.length + 1;
  add(`xref\n0 ${count}\n0000000000 65535 f \n${lines}`);
  add(`trailer\n<< /Size ${count} /Root 1 0 R >>\nstartxref\n${start}\n%%EOF\n`);
  return new Blob(parts as BlobPart[], { type: "application/pdf" });
}
