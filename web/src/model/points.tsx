/** What a bundle's operating points amount to: how often each verdict is right, and for which prevalence that holds. */
import type { Model, Schemas } from "../api/client";
import { FINDINGS, percent } from "../ui/words";

type Points = Schemas["FindingPoints"];

const POINTS = [
  ["likely", "Likely from"],
  ["unlikely", "Unlikely below"],
  ["balanced", "Balanced (Youden)"],
] as const;
const RATES = [
  ["sensitivity", "Sensitivity"],
  ["specificity", "Specificity"],
  ["ppv", "PPV"],
  ["npv", "NPV"],
] as const;

/** “0.72 (0.54–0.85)”. */
function rate(of: Schemas["Rate"] | null | undefined): string {
  if (!of) return "—";
  const interval = of.low == null || of.high == null ? "" : ` (${of.low.toFixed(2)}–${of.high.toFixed(2)})`;
  return of.value.toFixed(2) + interval;
}

export function OperatingPoints({ model }: { model: Model }) {
  const all = model.operating_points;
  if (!all)
    return (
      <p className="note">
        This bundle has one threshold for each finding and does not say how often it is right.
      </p>
    );
  const images = Object.values(all)[0]?.images.toLocaleString("en");
  return (
    <>
      <h3>Operating points</h3>
      <section className="scroll-x" tabIndex={0} aria-label={`Operating points of ${model.name}`}>
        <table>
          <thead>
            <tr>
              <th scope="col">Finding</th>
              <th scope="col">Point</th>
              {RATES.map(([, name]) => (
                <th scope="col" key={name}>
                  {name}
                </th>
              ))}
            </tr>
          </thead>
          {model.findings.map(
            (finding) => all[finding] && <OfFinding {...{ finding }} points={all[finding]} key={finding} />,
          )}
        </table>
      </section>
      <p className="muted">
        Shares with their 95 % intervals, on the {images} images that the points were chosen on. PPV and NPV
        hold only where a finding is as frequent as the table says.
      </p>
    </>
  );
}

function OfFinding({ finding, points }: { finding: string; points: Points }) {
  return (
    <tbody>
      {POINTS.map(([name, words], i) => (
        <tr key={name}>
          {i === 0 && (
            <th scope="rowgroup" rowSpan={POINTS.length}>
              {FINDINGS[finding]}
              <small>in {percent(points.prevalence, 1)} of images</small>
            </th>
          )}
          <td>
            {words} {percent(points[name].threshold, 1)}
          </td>
          {RATES.map(([key]) => (
            <td key={key}>{rate(points[name][key])}</td>
          ))}
        </tr>
      ))}
    </tbody>
  );
}
