/** How a finding is read: its distance from the threshold, and the impression. Pure. */
import type { Finding, Model } from "../api/client";
import { percent } from "../ui/words";
import { bySuspicion } from "./order";

export const isLikely = ({ verdict }: Finding) => verdict === "likely";
export const isUnlikely = ({ verdict }: Finding) => verdict === "unlikely";

const logit = (share: number) => Math.log(Math.max(share, 1e-6) / Math.max(1 - share, 1e-6));

/** The ends of a bar: odds e³ times below and above those of the threshold. */
const REACH = 3;
/** Where a probability is on a finding's bar, 0 to 1. The threshold is in the middle, since it may be as low as 2 %. */
export function placeOnBar(share: number, threshold: number): number {
  const place = 0.5 + (logit(share) - logit(threshold)) / (2 * REACH);
  return Math.min(Math.max(place, 0.01), 0.99);
}

/** Each backbone's own probability; none where the API leaves them out. */
export const backbonesOf = (finding: Finding): Record<string, number> => finding.backbones ?? {};

/** Whether the backbones are on both sides of the threshold, and clearly apart. */
export function disagree(finding: Finding): boolean {
  const places = Object.values(backbonesOf(finding)).map((share) => placeOnBar(share, finding.threshold));
  const [low, high] = [Math.min(...places), Math.max(...places)];
  return places.length > 1 && low < 0.5 && high >= 0.5 && high - low > 0.25;
}

/** “2.4 times the average”, where the bundle says how frequent the finding was. */
export function timesAverage({ times_the_average: times }: Finding): string {
  if (times === null) return "";
  return `${times < 9.95 ? times.toFixed(1) : Math.round(times)} times the average`;
}

/** A study's impression in one or two sentences. */
export function impression(findings: Finding[]): string {
  const named = (verdict: Finding["verdict"]) =>
    new Intl.ListFormat("en").format(
      bySuspicion(findings.filter((one) => one.verdict === verdict)).map(
        ({ label, probability }) => `${label.toLowerCase()} (${percent(probability)})`,
      ),
    );
  const [likely, uncertain] = [named("likely"), named("uncertain")];
  return [
    likely ? `Likely: ${likely}.` : `None of the ${findings.length} findings is likely.`,
    uncertain && `Uncertain: ${uncertain}.`,
  ]
    .filter(Boolean)
    .join(" ");
}

/** By what the verdicts were reached: points, thresholds and prevalences of the bundle, or the tenant's own. */
export function readWith(findings: Finding[], model: Model | undefined): string {
  const points = new Set(findings.map((one) => one.operating_point).filter((point) => point !== "own"));
  const named = (of: Finding[], value: (one: Finding) => number) =>
    of.map((one) => `${one.label.toLowerCase()} (${percent(value(one), 1)})`).join(", ");
  const own = findings.filter((one) => one.operating_point === "own");
  const moved = findings.filter(({ finding, prevalence }) => {
    const bundles = model?.operating_points?.[finding]?.prevalence;
    return prevalence !== null && bundles !== undefined && Math.abs(prevalence - bundles) > 1e-6;
  });
  const parts = [
    points.size > 0 && `operating point ${[...points].map((point) => `“${point}”`).join(", ")}`,
    own.length > 0 && `own thresholds for ${named(own, (one) => one.threshold)}`,
    moved.length > 0 && `an own prevalence of ${named(moved, (one) => one.prevalence ?? 0)}`,
  ];
  return `Read with ${new Intl.ListFormat("en").format(parts.filter((part) => part !== false))}.`;
}
