/** Machine clients: accounts for PACS and scripts. A secret is shown once. */
import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import { api, type Schemas, unwrap } from "../api/client";
import { Button, Confirm, Field, Form } from "../ui/controls";
import { ErrorNote, Loading } from "../ui/states";
import { ago } from "../ui/words";

export function Clients() {
  const client = useQueryClient();
  const fresh = { onSuccess: () => client.invalidateQueries({ queryKey: ["clients"] }) };
  const path = (client_id: string) => ({ params: { path: { client_id } } });
  const { data, error } = useQuery({
    queryKey: ["clients"],
    queryFn: () => unwrap(api.GET("/auth/clients")),
  });
  const [name, setName] = useState("");
  const create = useMutation({
    mutationFn: () =>
      unwrap(api.POST("/auth/clients", { body: { name, scopes: ["studies:read", "studies:write"] } })),
    ...fresh,
  });
  const rotate = useMutation({
    mutationFn: (id: string) => unwrap(api.POST("/auth/clients/{client_id}/rotate", path(id))),
    ...fresh,
  });
  const revoke = useMutation({
    mutationFn: (id: string) => unwrap(api.DELETE("/auth/clients/{client_id}", path(id))),
    ...fresh,
  });
  const shown = rotate.data ?? create.data;
  return (
    <section className="card">
      <h2>Machine clients</h2>
      <p>For a PACS or a script that sends studies on its own.</p>
      <ErrorNote error={error ?? create.error ?? rotate.error ?? revoke.error} />
      {!data && !error && <Loading what="Loading…" />}
      <ul className="list">
        {data?.map((one) => (
          <li key={one.id}>
            <span>
              <strong>{one.name}</strong> <code>{one.id}</code>
              <br />
              <span className="muted">
                {one.scopes.join(", ")} ·{" "}
                {one.last_used_at ? `last used ${ago(one.last_used_at)}` : "never used"}
              </span>
            </span>
            <span className="row">
              <Confirm
                title={`A new secret for ${one.name}?`}
                act="New secret"
                onConfirm={() => rotate.mutate(one.id)}
                trigger={
                  // Of two at a time only one secret would be shown.
                  <Button aria-label={`New secret for ${one.name}`} isDisabled={rotate.isPending}>
                    New secret
                  </Button>
                }
              >
                The current secret works for 24 more hours. Any older secret stops working now.
              </Confirm>
              <Confirm
                title={`Revoke ${one.name}?`}
                act="Revoke"
                onConfirm={() => revoke.mutate(one.id)}
                trigger={
                  <Button kind="quiet" aria-label={`Revoke ${one.name}`}>
                    Revoke
                  </Button>
                }
              >
                Programs that use it can no longer log in.
              </Confirm>
            </span>
          </li>
        ))}
      </ul>
      {shown && <Secret client={shown} />}
      <Form
        inline
        onSubmit={() => {
          rotate.reset();
          create.mutate();
        }}
      >
        <Field label="Name of a new client" value={name} onChange={setName} required />
        <Button type="submit" isPending={create.isPending}>
          Create
        </Button>
      </Form>
    </section>
  );
}

function Secret({ client }: { client: Schemas["ClientWithSecret"] }) {
  const [copied, setCopied] = useState(false);
  const example = [
    `TOKEN=$(curl -s ${location.origin}/auth/token -d grant_type=client_credentials \\`,
    `  -d client_id=${client.id} -d client_secret=${client.secret} | jq -r .access_token)`,
    `curl -s ${location.origin}/v1/jobs -H "Authorization: Bearer $TOKEN" -F files=@chest.dcm`,
  ].join("\n");
  const copy = async () => {
    await navigator.clipboard.writeText(example);
    setCopied(true);
  };
  return (
    <div className="note" role="status">
      <div>
        <p>
          Copy the secret of <strong>{client.name}</strong> now. It is not shown again:{" "}
          <code className="secret">{client.secret}</code>
        </p>
        <pre tabIndex={0}>{example}</pre>
        <Button onPress={copy}>{copied ? "Copied" : "Copy the example"}</Button>
      </div>
    </div>
  );
}
