/** How each finding changed between two studies. */
import type { Finding, Job } from "../api/client";
import { usePriors } from "../api/jobs";
import { Verdict } from "../findings/verdict";
import { percent, taken } from "../ui/words";

type Props = { then: Job; now: Job; finding: string | undefined; onChoose: (finding: string) => void };

export function Changes({ then, now, finding, onChoose }: Props) {
  const value = (job: Job, name: string) => job.study.findings.find((one) => one.finding === name);
  return (
    <section className="card scroll-x" aria-label="Findings then and now">
      <PatientUnknown {...{ then, now }} />
      <table>
        <thead>
          <tr>
            <th scope="col">Finding</th>
            <th scope="col">
              Then <small>{taken(then.study, then.created_at)}</small>
            </th>
            <th scope="col">
              Now <small>{taken(now.study, now.created_at)}</small>
            </th>
            <th scope="col">Change</th>
          </tr>
        </thead>
        <tbody>
          {now.study.findings.map(({ finding: name, label }) => (
            <tr key={name}>
              <th scope="row">
                <button type="button" aria-pressed={name === finding} onClick={() => onChoose(name)}>
                  {label}
                </button>
              </th>
              <Value finding={value(then, name)} />
              <Value finding={value(now, name)} />
              <td>{change(value(then, name), value(now, name))}</td>
            </tr>
          ))}
        </tbody>
      </table>
      {then.bundle.digest !== now.bundle.digest && (
        <p className="note">Different bundles analysed these studies. Part of a change may be due to that.</p>
      )}
    </section>
  );
}

/** The server lists a study among the earlier ones of the patient if both have the same patient id. */
function PatientUnknown({ then, now }: { then: Job; now: Job }) {
  const priors = usePriors(now.id).data;
  if (!priors || priors.items.some(({ id }) => id === then.id)) return null;
  return <p className="note">These studies may be of different patients. Check the names.</p>;
}

function Value({ finding }: { finding: Finding | undefined }) {
  if (!finding) return <td>—</td>;
  return (
    <td>
      {percent(finding.probability, 1)}{" "}
      <small>
        <Verdict finding={finding} />
      </small>
    </td>
  );
}

/** In points, and the new verdict where it is another. */
function change(before: Finding | undefined, after: Finding | undefined): string {
  if (!before || !after) return "—";
  const points = 100 * (after.probability - before.probability);
  const other = before.verdict !== after.verdict;
  if (Math.abs(points) < 0.05 && !other) return "none";
  const moved = `${points >= 0 ? "+" : "−"}${Math.abs(points).toFixed(1)} points`;
  return other ? `${moved}, now ${after.verdict}` : moved;
}
