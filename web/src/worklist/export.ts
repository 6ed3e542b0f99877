/** The worklist as a file, all of what the filters let through (up to 5,000 studies). */
import type { JobSummary } from "../api/client";
import { download, FINDINGS } from "../ui/words";
import { type Filters, readPage } from "./jobs";

const COLUMNS: Record<string, (item: JobSummary) => unknown> = {
  id: (item) => item.id,
  title: (item) => item.title,
  state: (item) => item.state,
  priority: (item) => item.priority,
  study_date: (item) => item.study_date,
  created_at: (item) => item.created_at,
  finished_at: (item) => item.finished_at,
  images: (item) => item.images,
  top_finding: (item) => item.top_finding?.finding,
  ...Object.fromEntries(
    Object.keys(FINDINGS).flatMap((name) => {
      const of = (item: JobSummary) => item.findings.find(({ finding }) => finding === name);
      return [
        [name, (item: JobSummary) => of(item)?.probability],
        [`${name}_threshold`, (item: JobSummary) => of(item)?.threshold],
        [`${name}_positive`, (item: JobSummary) => of(item)?.positive],
      ];
    }),
  ),
};

export async function exportAs(format: "csv" | "json", filters: Filters): Promise<void> {
  const items: JobSummary[] = [];
  let cursor: string | null = null;
  do {
    const page = await readPage(filters, cursor, 100);
    items.push(...page.items);
    cursor = page.next;
  } while (cursor && items.length < 5000);
  if (format === "json") return download("studies.json", "application/json", JSON.stringify(items, null, 2));
  const rows = items.map((item) => Object.values(COLUMNS).map((column) => cell(column(item))));
  const lines = [Object.keys(COLUMNS), ...rows].map((row) => row.join(","));
  return download("studies.csv", "text/csv", `${lines.join("\r\n")}\r\n`);
}

/** RFC 4180, and no formula for a spreadsheet to run. */
function cell(value: unknown): string {
  const text = value === null || value === undefined ? "" : String(value);
  const safe = typeof value === "string" && /^[=+\-@\t\r]/.test(text) ? `'${text}` : text;
  return /[",\r\n]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
}
