/** What the worklist can be narrowed by. */
import { STATES } from "../study/progress";
import { Button, Field, Form, SearchField, Select } from "../ui/controls";
import { FINDINGS } from "../ui/words";
import { type Filters, NO_FILTERS } from "./jobs";

const ORDERS = {
  newest: "Newest first",
  oldest: "Oldest first",
  suspicion: "Most suspicious first",
  title: "By title",
};
/** Those that are sent together: half a pseudonym or UID finds nothing. */
const RARE = [
  { name: "created_after", label: "Received from (UTC)", type: "date" },
  { name: "created_before", label: "Received before (UTC)", type: "date" },
  { name: "accession", label: "Accession number" },
  { name: "study_instance_uid", label: "Study Instance UID" },
  { name: "patient", label: "Patient pseudonym" },
  { name: "bundle", label: "Bundle name or digest" },
] as const;

type Props = { filters: Filters; onChange: (by: Partial<Filters>) => void };

export function Search({ filters, onChange }: Props) {
  return (
    <search>
      <div className="filters">
        <SearchField label="Search titles" value={filters.title} onChange={(title) => onChange({ title })} />
        <Select
          label="State"
          value={filters.state}
          onChange={(state) => onChange({ state })}
          options={{ "": "Any state", ...STATES }}
        />
        <Select
          label="Finding"
          value={filters.finding}
          onChange={(finding) => onChange({ finding })}
          options={{ "": "Any finding", ...FINDINGS }}
        />
        <Select label="Order" value={filters.sort} onChange={(sort) => onChange({ sort })} options={ORDERS} />
      </div>
      <More filters={filters} onChange={onChange} />
    </search>
  );
}

function More({ filters, onChange }: Props) {
  const values = RARE.map(({ name }) => filters[name]);
  const none = Object.fromEntries(RARE.map(({ name }) => [name, NO_FILTERS[name]]));
  return (
    <details className="more-filters" open={values.some(Boolean)}>
      <summary>More filters</summary>
      <Form
        onSubmit={(data) => onChange(Object.fromEntries(data) as Partial<Filters>)}
        key={values.join(" ")}
      >
        <div className="filter-fields">
          {RARE.map((field) => (
            <Field {...field} defaultValue={filters[field.name]} key={field.name} />
          ))}
        </div>
        <div className="row">
          <Button type="submit">Find</Button>
          {values.some(Boolean) && (
            <Button kind="quiet" onPress={() => onChange(none)}>
              Clear
            </Button>
          )}
        </div>
      </Form>
    </details>
  );
}
