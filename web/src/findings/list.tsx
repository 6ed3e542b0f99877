/** The five findings: how probable, against which threshold, and whether the networks agree. */
import { Label, Radio, RadioGroup } from "react-aria-components";
import type { Finding } from "../api/client";
import { percent } from "../ui/words";
import { backbonesOf, disagree, placeOnBar, timesAverage } from "./reading";
import { Verdict } from "./verdict";

type Props = { findings: Finding[]; chosen: string | undefined; onChoose: (finding: string) => void };

export function FindingList({ findings, chosen, onChoose }: Props) {
  const many = findings.some((finding) => Object.keys(backbonesOf(finding)).length > 1);
  return (
    <RadioGroup className="findings" value={chosen ?? null} onChange={onChoose}>
      <Label className="visually-hidden">Findings; the heatmap shows the chosen one</Label>
      {findings.map((finding) => (
        <Radio key={finding.finding} value={finding.finding} className="finding">
          <span className="finding-head">
            <span className="finding-name">{finding.label}</span>
            <span className="finding-value">{percent(finding.probability, 1)}</span>
          </span>
          <Bar finding={finding} />
          <span className="finding-foot">
            <Verdict finding={finding} />
            <span className="muted">{notes(finding)}</span>
          </span>
        </Radio>
      ))}
      <p className="muted legend">
        The bar shows how far the odds are from the finding's threshold, the mark in its middle
        {many && "; each dot is one network"}.
      </p>
    </RadioGroup>
  );
}

const notes = (finding: Finding) =>
  [
    disagree(finding) && "the networks disagree",
    timesAverage(finding),
    `threshold ${percent(finding.threshold, 1)}`,
  ]
    .filter(Boolean)
    .join(" · ");

function Bar({ finding }: { finding: Finding }) {
  const each = Object.entries(backbonesOf(finding));
  const at = (share: number) => `${100 * placeOnBar(share, finding.threshold)}%`;
  return (
    <span className={`bar ${finding.verdict}`} aria-hidden>
      <span className="bar-fill" style={{ width: at(finding.probability) }} />
      {each.length > 1 &&
        each.map(([name, share]) => <span key={name} className="bar-dot" style={{ left: at(share) }} />)}
      <span className="bar-threshold" />
    </span>
  );
}
