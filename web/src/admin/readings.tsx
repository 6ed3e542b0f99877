/** How a group's studies are read from now on: the operating point, own thresholds, the prevalence among its images. */
import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import { api, type Schemas, unwrap } from "../api/client";
import { useMe } from "../session/session";
import { Button, Field, Form, Select } from "../ui/controls";
import { ErrorNote } from "../ui/states";
import { FINDINGS } from "../ui/words";

type Reading = Schemas["Reading"];
const POINTS = {
  likely: "Likely (specificity 0.90)",
  balanced: "Balanced (Youden)",
  unlikely: "Unlikely (sensitivity 0.90)",
};
const OWN = { thresholds: "threshold", prevalence: "prevalence" } as const;

/** What stands in the form; an empty field is as the bundle has it. */
function readingOf(point: string, data: FormData): Reading {
  const own = (what: keyof typeof OWN) => {
    const given = Object.keys(FINDINGS).map((finding) => [finding, data.get(`${what}.${finding}`)] as const);
    return Object.fromEntries(
      given.filter(([, text]) => text).map(([name, text]) => [name, Number(text) / 100]),
    );
  };
  return { point: point as Reading["point"], thresholds: own("thresholds"), prevalence: own("prevalence") };
}

type Props = { groups: Record<string, string> };

/** `groups`: names by tenant id. */
export function Readings({ groups }: Props) {
  const client = useQueryClient();
  const mine = useMe().me?.tenant_id ?? "";
  const [tenant_id, setTenant] = useState(mine);
  const current = useQuery({ queryKey: ["reading"], queryFn: () => unwrap(api.GET("/v1/reading")) });
  const done = { onSuccess: () => client.invalidateQueries({ queryKey: ["reading"] }) };
  const path = { path: { tenant_id } };
  const address = "/v1/admin/readings/{tenant_id}" as const;
  const save = useMutation({
    mutationFn: (body: Reading) => unwrap(api.PUT(address, { params: path, body })),
    ...done,
  });
  const reset = useMutation({
    mutationFn: () => unwrap(api.DELETE(address, { params: path })),
    ...done,
  });
  const known = tenant_id === mine ? current.data : undefined;
  const [saved, set] = [save.isSuccess || reset.isSuccess, save.isPending || reset.isPending];
  return (
    <section className="card" aria-label="Reading">
      <h2>Reading</h2>
      <p className="muted">
        What you save replaces the group's choice and holds for results to come. Results that are there keep
        what they were read with. An empty field is as the bundle has it.
      </p>
      <Select
        label="Group"
        value={tenant_id}
        onChange={(id) => {
          save.reset();
          reset.reset();
          setTenant(id);
        }}
        options={groups}
      />
      <ReadingForm
        key={`${tenant_id} ${JSON.stringify(known)}`}
        known={known}
        onSave={(reading) => save.mutate(reading)}
        onReset={() => reset.mutate()}
        isPending={set}
      />
      <ErrorNote error={current.error ?? save.error ?? reset.error} />
      {saved && <p role="status">Saved.</p>}
    </section>
  );
}

type FormProps = {
  known: Reading | undefined;
  onSave: (reading: Reading) => void;
  onReset: () => void;
  isPending: boolean;
};

function ReadingForm({ known, onSave, onReset, isPending }: FormProps) {
  const [point, setPoint] = useState<string>(known?.point ?? "likely");
  const shown = (share: number | undefined) => share && Number((100 * share).toPrecision(6));
  return (
    <Form onSubmit={(data) => onSave(readingOf(point, data))}>
      <Select label="Operating point" value={point} onChange={setPoint} options={POINTS} />
      <div className="filter-fields pairs">
        {Object.entries(FINDINGS).flatMap(([finding, label]) =>
          Object.entries(OWN).map(([what, word]) => (
            <Field
              key={`${what}.${finding}`}
              name={`${what}.${finding}`}
              label={`${label}: ${word}, %`}
              inputMode="decimal"
              type="number"
              step="any"
              defaultValue={shown(known?.[what as keyof typeof OWN]?.[finding])}
            />
          )),
        )}
      </div>
      <div className="row">
        <Button type="submit" kind="primary" isPending={isPending}>
          Save
        </Button>
        <Button onPress={onReset}>Read as the bundle does</Button>
      </div>
    </Form>
  );
}
