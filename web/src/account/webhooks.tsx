/** Webhooks of the own group: servers that are told of jobs that have ended. A secret is shown once. */
import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import { api, type Schemas, unwrap } from "../api/client";
import { Button, Confirm, Field, Form } from "../ui/controls";
import { ErrorNote, Loading } from "../ui/states";
import { when } from "../ui/words";

const DESTINATIONS = "/v1/admin/tenants/{tenant_id}/destinations" as const;

function useWebhooks(tenant_id: string) {
  const client = useQueryClient();
  const queryKey = ["destinations", tenant_id];
  const fresh = { onSuccess: () => client.invalidateQueries({ queryKey }) };
  const at = (name: string) => ({ path: { tenant_id, name } });
  const destinations = useQuery({
    queryKey,
    queryFn: () => unwrap(api.GET(DESTINATIONS, { params: { path: { tenant_id } } })),
  });
  const put = useMutation({
    mutationFn: ({ name, url }: { name: string; url: string }) =>
      unwrap(api.PUT("/v1/admin/tenants/{tenant_id}/webhooks/{name}", { params: at(name), body: { url } })),
    ...fresh,
  });
  const remove = useMutation({
    mutationFn: (name: string) => unwrap(api.DELETE(`${DESTINATIONS}/{name}`, { params: at(name) })),
    ...fresh,
  });
  const test = useMutation({
    mutationFn: (name: string) =>
      unwrap(api.POST("/v1/admin/tenants/{tenant_id}/webhooks/{name}/test", { params: at(name) })),
  });
  return { destinations, put, remove, test };
}

/** For administrators; `tenant`: their own. */
export function Webhooks({ tenant }: { tenant: string }) {
  const { destinations, put, remove, test } = useWebhooks(tenant);
  const all = destinations.data?.items;
  const webhooks = all?.filter(({ kind }) => kind === "webhook");
  return (
    <section className="card" aria-label="Webhooks">
      <h2>Webhooks</h2>
      <p>
        Servers that are told when a job of your group has ended. What is sent names no patient and no
        finding.
      </p>
      <ErrorNote error={destinations.error ?? put.error ?? remove.error ?? test.error} />
      {!all && !destinations.error && <Loading what="Loading…" />}
      <ul className="list">
        {webhooks?.map((one) => (
          <li key={one.name}>
            <span>
              <strong>{one.name}</strong> <code className="secret">{one.url}</code>
              <br />
              <span className="muted">since {when(one.created_at ?? null)}</span>
            </span>
            <span className="row">
              <Button
                aria-label={`Test ${one.name}`}
                onPress={() => test.mutate(one.name)}
                isPending={test.isPending && test.variables === one.name}
              >
                Test
              </Button>
              <Confirm
                title={`A new secret for ${one.name}?`}
                act="New secret"
                onConfirm={() => put.mutate(one)}
                trigger={
                  <Button aria-label={`New secret for ${one.name}`} isDisabled={put.isPending}>
                    New secret
                  </Button>
                }
              >
                The current secret stops working now.
              </Confirm>
              <Confirm
                title={`Remove ${one.name}?`}
                act="Remove"
                onConfirm={() => {
                  put.reset();
                  remove.mutate(one.name);
                }}
                trigger={
                  <Button kind="quiet" aria-label={`Remove ${one.name}`}>
                    Remove
                  </Button>
                }
              >
                Nothing more is sent there, and what waits for it is dropped.
              </Confirm>
            </span>
          </li>
        ))}
      </ul>
      {test.data && (
        <p className={`note${test.data.delivered ? "" : " error"}`} role="status">
          {test.variables}: {test.data.answer}
        </p>
      )}
      {put.data && <Secret webhook={put.data} />}
      <Add taken={all?.map(({ name }) => name) ?? []} onAdd={put.mutate} isPending={put.isPending} />
    </section>
  );
}

type AddProps = {
  /** Names of all destinations: one of them would be replaced. */
  taken: string[];
  onAdd: (webhook: { name: string; url: string }, how: { onSuccess: () => void }) => void;
  isPending: boolean;
};

function Add({ taken, onAdd, isPending }: AddProps) {
  const [name, setName] = useState("");
  const [url, setUrl] = useState("");
  const [refused, setRefused] = useState("");
  const add = () => {
    const known = taken.includes(name);
    setRefused(known ? `The name ${name} is taken. Choose another one.` : "");
    if (known) return;
    onAdd(
      { name, url },
      {
        onSuccess: () => {
          setName("");
          setUrl("");
        },
      },
    );
  };
  return (
    <Form onSubmit={add}>
      <Field
        label="Name of a new webhook"
        help="Lower-case letters, digits, - and _"
        pattern="[a-z0-9][a-z0-9_\-]{0,39}"
        title="Lower-case letters, digits, - and _"
        autoComplete="off"
        value={name}
        onChange={setName}
        required
      />
      <Field
        label="Address"
        help="Begins with https://"
        pattern="https://.+"
        title="An address that begins with https://"
        inputMode="url"
        autoComplete="off"
        maxLength={500}
        value={url}
        onChange={setUrl}
        required
      />
      <ErrorNote error={refused && new Error(refused)} />
      <Button type="submit" isPending={isPending}>
        Add the webhook
      </Button>
    </Form>
  );
}

function Secret({ webhook }: { webhook: Schemas["Webhook"] }) {
  const [copied, setCopied] = useState("");
  const copy = async () => {
    await navigator.clipboard.writeText(webhook.secret);
    setCopied(webhook.secret);
  };
  return (
    <div className="note" role="status">
      <div>
        <p>
          Copy the secret of <strong>{webhook.name}</strong> now, to check what is sent. It is not shown
          again: <code className="secret">{webhook.secret}</code>
        </p>
        {webhook.warning && <p>{webhook.warning}</p>}
        <Button onPress={copy}>{copied === webhook.secret ? "Copied" : "Copy the secret"}</Button>
      </div>
    </div>
  );
}
