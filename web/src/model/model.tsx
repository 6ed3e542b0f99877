/** The bundles: card, networks and weights, and how good they were measured to be. */
import type { Model as Bundle } from "../api/client";
import { metricsOf, type Pointing, useModels } from "../api/models";
import { Empty, ErrorNote, Loading } from "../ui/states";
import { FINDINGS, percent } from "../ui/words";
import { OperatingPoints } from "./points";

const figure = (value: number | null | undefined) => (typeof value === "number" ? value.toFixed(3) : "—");

/** “52 % of 14, by chance 18 %”. */
const hits = (of?: Pointing) =>
  of ? `${percent(of.hits)} of ${of.n}, by chance ${percent(of.chance)}` : "not measured";

export function Model() {
  const { data, error } = useModels();
  if (!data) return error ? <ErrorNote error={error} /> : <Loading what="Loading the model…" />;
  if (!data.items.length)
    return (
      <Empty title="No bundle is registered">
        <p>
          Register one with <code>thorax bundle register</code>.
        </p>
      </Empty>
    );
  return (
    <div className="cards broad">
      <h1>Model</h1>
      {data.items.map((model) => (
        <Card key={model.digest} model={model} />
      ))}
    </div>
  );
}

function Card({ model }: { model: Bundle }) {
  const { ensemble, backbones, data, split, n, pointing } = metricsOf(model);
  const [low, high] = ensemble?.mean_auc_95 ?? [];
  return (
    <section className="card">
      <h2>
        {model.name} {model.version} {model.active && <em className="tag">in use</em>}
      </h2>
      <p>
        <strong>{model.intended_use}</strong>
      </p>
      {ensemble ? (
        <p>
          Mean AUC <strong>{figure(ensemble.mean_auc)}</strong>
          {low !== undefined && ` (95 % interval ${figure(low)} to ${figure(high)})`}, measured on {data}
          {n && `, ${n.toLocaleString("en")} images`}
          {split && `, ${split}`}.
          {ensemble.ece !== undefined && ` Mean calibration error ${figure(ensemble.ece)}.`}
        </p>
      ) : (
        <p className="note">The AUC of this bundle was not measured.</p>
      )}
      <section className="scroll-x" tabIndex={0} aria-label={`Figures of ${model.name}`}>
        <table>
          <thead>
            <tr>
              <th scope="col">Finding</th>
              <th scope="col">AUC</th>
              <th scope="col">Threshold</th>
              {pointing && <th scope="col">Map points at it</th>}
              {model.backbones.map(({ name }) => (
                <th scope="col" key={name}>
                  {name}
                </th>
              ))}
            </tr>
          </thead>
          <tbody>
            {model.findings.map((finding) => (
              <tr key={finding}>
                <th scope="row">{FINDINGS[finding]}</th>
                <td>{figure(ensemble?.auc?.[finding])}</td>
                <td>{percent(model.thresholds[finding] ?? 0, 1)}</td>
                {pointing && <td>{hits(pointing[finding])}</td>}
                {model.backbones.map(({ name, weights }) => (
                  <td key={name}>{percent(weights[finding] ?? 0)}</td>
                ))}
              </tr>
            ))}
            <tr>
              <th scope="row">Alone</th>
              <td colSpan={pointing ? 3 : 2}>mean AUC</td>
              {model.backbones.map(({ name }) => (
                <td key={name}>{figure(backbones?.[name]?.mean_auc)}</td>
              ))}
            </tr>
          </tbody>
        </table>
      </section>
      <p className="muted">
        The percentages under the networks are their weights in the ensemble.
        {pointing &&
          " A map points at a finding when its maximum is inside the box that a radiologist drew; chance is the share of the image that the boxes cover."}
      </p>
      <OperatingPoints model={model} />
      <p className="muted">Licence: {model.licence}.</p>
      {model.card && (
        <details>
          <summary>Model card</summary>
          <pre tabIndex={0}>{model.card}</pre>
        </details>
      )}
      <p className="muted small">
        Digest <code>{model.digest}</code>
      </p>
    </section>
  );
}
