/** The own account: webhooks, machine clients, sessions, invitations, password, deletion. */
import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import { useLocation } from "wouter";
import { Deliveries } from "../admin/deliveries";
import { api, unwrap } from "../api/client";
import { useMe, useSession } from "../session/session";
import { Button, Field, Form, ModalDialog } from "../ui/controls";
import { ErrorNote, Loading } from "../ui/states";
import { ago, when } from "../ui/words";
import { Clients } from "./clients";
import { Webhooks } from "./webhooks";

export function Account() {
  const { me } = useMe();
  return (
    <div className="cards">
      <h1>Account</h1>
      <p className="muted">
        {me?.name} · {me?.scopes.join(", ")}
      </p>
      <Deliveries own />
      {me?.scopes.includes("admin") && <Webhooks tenant={me.tenant_id} />}
      <Clients />
      <Sessions />
      <Invite />
      <Password />
      <DeleteAccount />
    </div>
  );
}

function Sessions() {
  const client = useQueryClient();
  const { data, error } = useQuery({
    queryKey: ["sessions"],
    queryFn: () => unwrap(api.GET("/auth/sessions")),
  });
  const end = useMutation({
    mutationFn: (session_id: string) =>
      unwrap(api.DELETE("/auth/sessions/{session_id}", { params: { path: { session_id } } })),
    onSuccess: () => client.invalidateQueries({ queryKey: ["sessions"] }),
  });
  return (
    <section className="card">
      <h2>Sessions</h2>
      <ErrorNote error={error ?? end.error} />
      {!data && !error && <Loading what="Loading…" />}
      <ul className="list">
        {data?.map((session) => (
          <li key={session.id}>
            <span>
              <strong>{browser(session.user_agent)}</strong>{" "}
              {session.current && <em className="tag">this browser</em>}
              <br />
              <span className="muted">
                {session.page ? "page" : "API"} · last used {ago(session.last_used_at)} · since{" "}
                {when(session.created_at)}
              </span>
            </span>
            {!session.current && (
              <Button
                onPress={() => end.mutate(session.id)}
                aria-label={`Log out ${browser(session.user_agent)}`}
              >
                Log out
              </Button>
            )}
          </li>
        ))}
      </ul>
    </section>
  );
}

function browser(agent: string): string {
  const [, name] = /(Firefox|Edg|OPR|HeadlessChrome|Chrome|Safari|curl|python-httpx)/.exec(agent) ?? [];
  const [, system] = /(Windows|Mac OS X|Android|iPhone|iPad|Linux)/.exec(agent) ?? [];
  return [name?.replace("Edg", "Edge").replace("Headless", "") ?? "Unknown program", system]
    .filter(Boolean)
    .join(", ");
}

function Invite() {
  const invite = useMutation({ mutationFn: () => unwrap(api.POST("/auth/invitations")) });
  const link = invite.data && `${location.origin}/sign-up?invitation=${invite.data.invitation}`;
  return (
    <section className="card">
      <h2>Colleagues</h2>
      <p>Anyone who signs up with your invitation sees all studies of your group, and you see theirs.</p>
      <ErrorNote error={invite.error} />
      {link && invite.data && (
        <p>
          <code className="secret">{link}</code>
          <span className="muted"> It is valid for one person until {when(invite.data.expires_at)}.</span>
        </p>
      )}
      <Button onPress={() => invite.mutate()} isPending={invite.isPending}>
        Create an invitation
      </Button>
    </section>
  );
}

function Password() {
  const [current, setCurrent] = useState("");
  const [fresh, setFresh] = useState("");
  const change = useMutation({
    mutationFn: () => unwrap(api.POST("/auth/password", { body: { current, new: fresh } })),
    onSuccess: () => {
      setCurrent("");
      setFresh("");
    },
  });
  return (
    <section className="card">
      <h2>Password</h2>
      <Form onSubmit={() => change.mutate()}>
        <Field
          label="Current password"
          type="password"
          autoComplete="current-password"
          value={current}
          onChange={setCurrent}
          required
        />
        <Field
          label="New password"
          type="password"
          autoComplete="new-password"
          value={fresh}
          onChange={setFresh}
          required
        />
        <ErrorNote error={change.error} />
        {change.isSuccess && <p role="status">Password changed. All other sessions are logged out.</p>}
        <Button type="submit" isPending={change.isPending}>
          Change the password
        </Button>
      </Form>
    </section>
  );
}

function DeleteAccount() {
  const { logOut } = useSession();
  const [, go] = useLocation();
  const [password, setPassword] = useState("");
  const remove = useMutation({
    mutationFn: () => unwrap(api.DELETE("/auth/me", { body: { password } })),
    onSuccess: async () => {
      await logOut(); // the session was deleted too: this and other tabs forget it
      go("/");
    },
  });
  return (
    <section className="card">
      <h2>Delete the account</h2>
      <p>This deletes the account with its sessions and machine clients. It can't be undone.</p>
      <ModalDialog title="Delete your account?" trigger={<Button kind="danger">Delete the account</Button>}>
        {() => (
          <Form onSubmit={() => remove.mutate()}>
            <Field
              label="Password"
              type="password"
              value={password}
              onChange={setPassword}
              required
              autoFocus
            />
            <ErrorNote error={remove.error} />
            <Button kind="danger" type="submit" isPending={remove.isPending}>
              Delete
            </Button>
          </Form>
        )}
      </ModalDialog>
    </section>
  );
}
