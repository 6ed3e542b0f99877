/** The five findings: how probable, against which threshold, and how much the backbones agree. */
import { CircleCheck, TriangleAlert } from "lucide-react";
import { Label, Radio, RadioGroup } from "react-aria-components";
import { backbonesOf, type Finding, type Model } from "../api/client";
import { percent } from "../ui/words";

type Props = {
  findings: Finding[];
  chosen: string | undefined;
  onChoose: (finding: string) => void;
};

export function Findings({ findings, chosen, onChoose }: Props) {
  const many = findings.some((finding) => Object.keys(backbonesOf(finding)).length > 1);
  return (
    <RadioGroup className="findings" value={chosen ?? null} onChange={onChoose}>
      <Label className="visually-hidden">Findings; the chosen one's heatmap is shown</Label>
      {findings.map((finding) => (
        <Radio key={finding.finding} value={finding.finding} className="finding">
          <span className="finding-head">
            <span className="finding-name">{finding.label}</span>
            <span className="finding-value">{percent(finding.probability, 1)}</span>
          </span>
          <Bar finding={finding} />
          <span className="finding-foot">
            <Verdict finding={finding} />
            <span className="muted">{range(finding)}</span>
          </span>
        </Radio>
      ))}
      <p className="muted legend">
        The mark in the middle is each finding's threshold; the bar shows how far the odds are from it
        {many && ", the dots where the single backbones are"}.
      </p>
    </RadioGroup>
  );
}

/** Positive or negative, in a word and a sign. */
export function Verdict({ finding }: { finding: Finding }) {
  return finding.positive ? (
    <span className="verdict positive">
      <TriangleAlert aria-hidden /> Positive
    </span>
  ) : (
    <span className="verdict negative">
      <CircleCheck aria-hidden /> Negative
    </span>
  );
}

function range(finding: Finding): string {
  const each = Object.values(backbonesOf(finding));
  if (each.length < 2) return `threshold ${percent(finding.threshold, 1)}`;
  const [low, high] = [Math.min(...each), Math.max(...each)];
  return `backbones ${Math.round(low * 100)}–${percent(high)} · threshold ${percent(finding.threshold, 1)}`;
}

/** Ends of the bar: odds this many times (e to the power of it) below or above those of the threshold. */
const REACH = 3;
const logit = (share: number) => Math.log(Math.max(share, 1e-6) / Math.max(1 - share, 1e-6));

/** Where a probability is on a bar of log odds whose middle is the threshold, since thresholds may be at 2 %. */
function place(share: number, threshold: number): string {
  const at = 0.5 + (logit(share) - logit(threshold)) / (2 * REACH);
  return `${100 * Math.min(Math.max(at, 0.01), 0.99)}%`;
}

function Bar({ finding }: { finding: Finding }) {
  const each = Object.entries(backbonesOf(finding));
  const at = (share: number) => place(share, finding.threshold);
  return (
    <span className={finding.positive ? "bar positive" : "bar"} aria-hidden>
      <span className="bar-fill" style={{ width: at(finding.probability) }} />
      {each.length > 1 &&
        each.map(([name, share]) => <span key={name} className="bar-dot" style={{ left: at(share) }} />)}
      <span className="bar-threshold" />
    </span>
  );
}

/** Each backbone's own word, with its weight in the ensemble. */
export function BackboneTable({ findings, model }: { findings: Finding[]; model: Model | undefined }) {
  const names = Object.keys(findings[0]?.backbones ?? {});
  if (!names.length) return null;
  const weight = (name: string, finding: Finding) =>
    model?.backbones.find((backbone) => backbone.name === name)?.weights[finding.finding];
  return (
    <details className="backbones">
      <summary>Each backbone's own probability</summary>
      <section className="scroll-x" tabIndex={0} aria-label="Backbones">
        <table>
          <thead>
            <tr>
              <th scope="col">Backbone</th>
              {findings.map((finding) => (
                <th scope="col" key={finding.finding} title={finding.label}>
                  <span aria-hidden>{finding.label.split(" ").at(-1)?.slice(0, 4)}.</span>
                  <span className="visually-hidden">{finding.label}</span>
                </th>
              ))}
            </tr>
          </thead>
          <tbody>
            {names.map((name) => (
              <tr key={name}>
                <th scope="row">{name}</th>
                {findings.map((finding) => (
                  <td key={finding.finding}>
                    {percent(backbonesOf(finding)[name] ?? 0, 1)}
                    <small>×{weight(name, finding)?.toFixed(2) ?? "—"}</small>
                  </td>
                ))}
              </tr>
            ))}
            <tr>
              <th scope="row">Differ by</th>
              {findings.map((finding) => (
                <td key={finding.finding}>± {(100 * finding.disagreement).toFixed(1)}</td>
              ))}
            </tr>
            <tr className="total">
              <th scope="row">Ensemble</th>
              {findings.map((finding) => (
                <td key={finding.finding}>{percent(finding.probability, 1)}</td>
              ))}
            </tr>
          </tbody>
        </table>
      </section>
      <p className="muted small">
        Small figures are weights. The ensemble is the backbones' weighted mean, calibrated on validation
        data. Each backbone's own value went through the same calibration, so that all of them compare with
        one another and with the threshold. ± is how far the backbones are from the ensemble.
      </p>
    </details>
  );
}
