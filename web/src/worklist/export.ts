/** The worklist as a file: every study that the filters match, every field that the API gives. */
import type { JobSummary } from "../api/client";
import { download } from "../ui/words";
import { type Filters, readPage } from "./jobs";

/** A file with no more than these says so by its name. */
const MOST = 5000;

export async function exportAs(format: "csv" | "json", filters: Filters): Promise<void> {
  const items: JobSummary[] = [];
  let cursor: string | null = null;
  do {
    const page = await readPage(filters, cursor, 100);
    items.push(...page.items);
    cursor = page.next;
  } while (cursor && items.length < MOST);
  const name = `studies${cursor ? `-first-${items.length}` : ""}.${format}`;
  if (format === "json") return download(name, "application/json", JSON.stringify(items, null, 2));
  const rows = items.map(flat);
  const columns = [...new Set(rows.flatMap((row) => Object.keys(row)))];
  const lines = [columns, ...rows.map((row) => columns.map((column) => row[column]))];
  download(name, "text/csv", lines.map((line) => `${line.map(cell).join(",")}\r\n`).join(""));
}

/** One row: nested fields as `progress_done`, and of each finding `edema` (its probability), `edema_threshold`, … */
function flat({ findings, top_finding, error, ...item }: JobSummary): Record<string, unknown> {
  const row: Record<string, unknown> = {};
  const add = (name: string, value: unknown) => {
    if (value === null || typeof value !== "object") row[name] = value;
    else for (const [key, inner] of Object.entries(value)) add(`${name}_${key}`, inner);
  };
  for (const [name, value] of Object.entries(item)) add(name, value);
  add("error", error ?? {});
  row.top_finding = top_finding?.finding;
  for (const { finding, probability, label: _, backbones: __, ...values } of findings) {
    row[finding] = probability;
    add(finding, values);
  }
  return row;
}

/** RFC 4180; a text that a spreadsheet would run as a formula is quoted. */
function cell(value: unknown): string {
  const text = value === null || value === undefined ? "" : String(value);
  const safe = typeof value === "string" && /^[=+\-@\t\r]/.test(text) ? `'${text}` : text;
  return /[",\r\n]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
}
