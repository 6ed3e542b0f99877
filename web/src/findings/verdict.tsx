/** A finding's verdict as a word with a sign, and the likely findings of a study as chips. */
import { CircleCheck, CircleHelp, TriangleAlert } from "lucide-react";
import type { Finding } from "../api/client";
import { percent } from "../ui/words";
import { bySuspicion } from "./order";
import { isUnlikely } from "./reading";

const SIGNS = { likely: TriangleAlert, uncertain: CircleHelp, unlikely: CircleCheck };
const WORDS = { likely: "Likely", uncertain: "Uncertain", unlikely: "Unlikely" };

export function Verdict({ finding: { verdict } }: { finding: Finding }) {
  const Sign = SIGNS[verdict];
  return (
    <span className={`verdict ${verdict}`}>
      <Sign aria-hidden /> {WORDS[verdict]}
    </span>
  );
}

const distance = ({ margin }: Finding) =>
  `log odds ${Math.abs(margin).toFixed(1)} ${margin < 0 ? "below" : "above"}`;

/** Every finding that is likely or uncertain, with how far it is above its threshold, the furthest first; of a study without one, that it has none. */
export function FindingChips({ findings }: { findings: Finding[] }) {
  if (!findings.length) return null;
  const raised = bySuspicion(findings.filter((one) => !isUnlikely(one)));
  if (!raised.length) return <span className="chip unlikely">No likely finding</span>;
  return raised.map((one) => (
    <span
      key={one.finding}
      className={`chip ${one.verdict}`}
      title={`${WORDS[one.verdict]}; ${distance(one)} the threshold, ${percent(one.threshold, 1)}`}
    >
      {one.label} {percent(one.probability)}
      {one.verdict === "uncertain" && <span className="visually-hidden">, uncertain</span>}
      {one.margin > 0.05 && <small>+{one.margin.toFixed(1)}</small>}
    </span>
  ));
}
