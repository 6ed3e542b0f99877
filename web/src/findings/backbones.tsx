/** Each network's own probability, with its weight in the ensemble. */
import type { Finding, Model } from "../api/client";
import { percent } from "../ui/words";
import { backbonesOf } from "./reading";

export function BackboneTable({ findings, model }: { findings: Finding[]; model: Model | undefined }) {
  const names = Object.keys(findings[0]?.backbones ?? {});
  if (!names.length) return null;
  const weight = (name: string, finding: Finding) =>
    model?.backbones.find((backbone) => backbone.name === name)?.weights[finding.finding];
  return (
    <details className="backbones">
      <summary>Each network's own probability</summary>
      <section className="scroll-x" tabIndex={0} aria-label="Networks">
        <table>
          <thead>
            <tr>
              <th scope="col">Network</th>
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
              <th scope="row">Spread</th>
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
        Small figures are weights. The ensemble is the networks' weighted mean, calibrated on validation data.
        Each network's value has the same calibration, so you can compare them with one another and with the
        threshold. ± is the networks' standard deviation around the ensemble.
      </p>
    </details>
  );
}
