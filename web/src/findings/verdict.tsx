/** A finding's verdict as a word with a sign, and the likely findings of a study as chips. */
import { CircleCheck, CircleHelp, TriangleAlert } from "lucide-react";
import type { Finding } from "../api/client";
import { percent } from "../ui/words";
import { type Band, bandOf, bySuspicion, isLikely, isUnlikely } from "./reading";

export const BANDS: Record<Band, string> = {
  likely: "Likely",
  uncertain: "Uncertain",
  unlikely: "Unlikely",
  positive: "Positive",
  negative: "Negative",
};

const toneOf = (finding: Finding) =>
  isLikely(finding) ? "positive" : isUnlikely(finding) ? "negative" : "uncertain";
const SIGNS = { positive: TriangleAlert, uncertain: CircleHelp, negative: CircleCheck };

export function Verdict({ finding }: { finding: Finding }) {
  const tone = toneOf(finding);
  const Sign = SIGNS[tone];
  return (
    <span className={`verdict ${tone}`}>
      <Sign aria-hidden /> {BANDS[bandOf(finding)]}
    </span>
  );
}

/** Every finding that is likely or uncertain, the most suspicious first; of a study without one, that it has none. */
export function FindingChips({ findings }: { findings: Finding[] }) {
  if (!findings.length) return null;
  const raised = bySuspicion(findings.filter((one) => !isUnlikely(one)));
  if (!raised.length) return <span className="chip negative">No likely finding</span>;
  return raised.map((one) => (
    <span
      key={one.finding}
      className={`chip ${toneOf(one)}`}
      title={`${BANDS[bandOf(one)]}; threshold ${percent(one.threshold, 1)}`}
    >
      {one.label} {percent(one.probability)}
      <small>+{Math.max(Math.round(100 * (one.probability - one.threshold)), 0)}</small>
    </span>
  ));
}
