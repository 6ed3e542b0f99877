/** How long a group's data are kept, and its studies under legal hold. */
import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import { api, type Schemas, unwrap } from "../api/client";
import { Button, Field, Form, Select } from "../ui/controls";
import { ErrorNote } from "../ui/states";
import { ago } from "../ui/words";

/** Stands for the groups without days of their own. */
const ALL = "00000000-0000-0000-0000-000000000000";
const KINDS = {
  originals: "Originals",
  inputs: "Inputs of the networks",
  maps: "Heatmaps",
  results: "Whole studies",
};

type Ages = Schemas["Ages"];
type Props = { groups: Record<string, string> };

/** `groups`: names by tenant id. */
export function Retention({ groups }: Props) {
  const client = useQueryClient();
  const [tenant_id, setTenant] = useState(ALL);
  const kept = useQuery({ queryKey: ["retention"], queryFn: () => unwrap(api.GET("/v1/admin/retention")) });
  const done = { onSuccess: () => client.invalidateQueries({ queryKey: ["retention"] }) };
  const path = { path: { tenant_id } };
  const address = "/v1/admin/retention/{tenant_id}" as const;
  const save = useMutation({
    mutationFn: (body: Ages) => unwrap(api.PUT(address, { params: path, body })),
    ...done,
  });
  const reset = useMutation({
    mutationFn: () => unwrap(api.DELETE(address, { params: path })),
    ...done,
  });
  const own = kept.data?.items.find((one) => one.tenant_id === tenant_id);
  return (
    <section className="card" aria-label="Retention">
      <h2>Retention</h2>
      <p className="muted">
        Days since a study came; an empty field keeps for ever. A group's own days replace those of all.
      </p>
      <Select
        label="Group whose data are kept"
        value={tenant_id}
        onChange={(id) => {
          save.reset();
          reset.reset();
          setTenant(id);
        }}
        options={{ [ALL]: "All groups", ...groups }}
      />
      <p>{inWords(own, tenant_id === ALL)}</p>
      <Form
        key={`${tenant_id} ${JSON.stringify(own)}`}
        onSubmit={(data) => {
          const days = (kind: keyof Ages) => Number(data.get(kind)) || null;
          save.mutate({
            originals: days("originals"),
            inputs: days("inputs"),
            maps: days("maps"),
            results: days("results"),
          });
        }}
      >
        <div className="filter-fields pairs">
          {Object.entries(KINDS).map(([kind, label]) => (
            <Field
              key={kind}
              name={kind}
              label={`${label}: days`}
              type="number"
              min={1}
              defaultValue={own?.[kind as keyof Ages] ?? ""}
            />
          ))}
        </div>
        <div className="row">
          <Button type="submit" kind="primary" isPending={save.isPending}>
            Save days
          </Button>
          <Button onPress={() => reset.mutate()} isPending={reset.isPending}>
            {tenant_id === ALL ? "Keep for ever" : "Keep as all groups"}
          </Button>
        </div>
      </Form>
      <ErrorNote error={kept.error ?? save.error ?? reset.error} />
      {(save.isSuccess || reset.isSuccess) && <p role="status">Saved.</p>}
      {tenant_id !== ALL && <Holds key={tenant_id} tenant_id={tenant_id} />}
    </section>
  );
}

function inWords(own: Ages | undefined, all: boolean): string {
  if (!own) return all ? "Everything is kept for ever." : "Kept as those of all groups.";
  const told = Object.entries(KINDS).map(([kind, label]) => {
    const days = own[kind as keyof Ages];
    return `${label}: ${days ? `${days} days` : "for ever"}`;
  });
  return `${told.join(" · ")}.`;
}

function Holds({ tenant_id }: { tenant_id: string }) {
  const client = useQueryClient();
  const queryKey = ["holds", tenant_id];
  const holds = useQuery({
    queryKey,
    queryFn: () =>
      unwrap(api.GET("/v1/admin/retention/{tenant_id}/holds", { params: { path: { tenant_id } } })),
  });
  const address = "/v1/admin/retention/{tenant_id}/holds/{study}" as const;
  const done = { onSuccess: () => client.invalidateQueries({ queryKey }) };
  const hold = useMutation({
    mutationFn: (study: string) => unwrap(api.PUT(address, { params: { path: { tenant_id, study } } })),
    ...done,
  });
  const release = useMutation({
    mutationFn: (study: string) => unwrap(api.DELETE(address, { params: { path: { tenant_id, study } } })),
    ...done,
  });
  return (
    <>
      <h3>Legal hold</h3>
      <p className="muted">A held study is kept whatever its age, and nobody can erase it.</p>
      <ul className="list">
        {holds.data?.items.map(({ study_id, since }) => (
          <li key={study_id}>
            <span>
              <code>{study_id}</code> <span className="muted">held {ago(since ?? "")}</span>
            </span>
            <Button onPress={() => release.mutate(study_id)} aria-label={`Release ${study_id}`}>
              Release
            </Button>
          </li>
        ))}
      </ul>
      <Form inline onSubmit={(data) => hold.mutate(String(data.get("study")).trim())}>
        <Field name="study" label="Study id or Study Instance UID" required maxLength={64} />
        <Button type="submit" isPending={hold.isPending}>
          Hold
        </Button>
      </Form>
      <ErrorNote error={holds.error ?? hold.error ?? release.error} />
    </>
  );
}
