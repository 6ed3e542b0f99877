/** Numbers, dates and names as people read them. A figure keeps its unit beside it. */
export const percent = (share: number, digits = 0) => `${(100 * share).toFixed(digits)}\u00a0%`;
export const seconds = (value: number) => `${value < 10 ? value.toFixed(1) : Math.round(value)}\u00a0s`;

const WHEN = new Intl.DateTimeFormat("en-GB", { dateStyle: "medium", timeStyle: "short" });
export const when = (iso: string | null) => (iso ? WHEN.format(new Date(iso)) : "—");

/** The findings in canonical order, and their names. */
export const FINDINGS: Record<string, string> = {
  atelectasis: "Atelectasis",
  cardiomegaly: "Cardiomegaly",
  consolidation: "Consolidation",
  edema: "Edema",
  pleural_effusion: "Pleural Effusion",
};

const DAY = new Intl.DateTimeFormat("en-GB", { dateStyle: "medium" });
/** A date without a time is midnight in UTC to `Date`, which is the day before west of Greenwich. */
const DATE = new Intl.DateTimeFormat("en-GB", { dateStyle: "medium", timeZone: "UTC" });
/** When a study was taken; if unknown, when it was sent. */
export const taken = (study: { study_date: string | null }, created: string) =>
  study.study_date ? DATE.format(new Date(study.study_date)) : `sent ${DAY.format(new Date(created))}`;

const AGO = new Intl.RelativeTimeFormat("en", { numeric: "auto", style: "long" });
const STEPS = [
  ["second", 60],
  ["minute", 60],
  ["hour", 24],
  ["day", 1e9],
] as const;

/** “3 minutes ago”. */
export function ago(iso: string): string {
  let amount = (new Date(iso).getTime() - Date.now()) / 1000;
  for (const [unit, size] of STEPS) {
    if (Math.abs(amount) < size) return AGO.format(Math.round(amount), unit);
    amount /= size;
  }
  return when(iso);
}

export const plural = (count: number, one: string, many = `${one}s`) =>
  `${count} ${count === 1 ? one : many}`;

/** Save something as a file. */
export function download(name: string, type: string, content: string | Blob): void {
  const url = URL.createObjectURL(new Blob([content], { type }));
  const link = Object.assign(document.createElement("a"), { href: url, download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(url), 1000);
}
