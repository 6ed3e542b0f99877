/** The own account: logins, password, invitations, machine clients, leaving. */
import { useMutation, useQuery, useQueryClient } from "@tanstack/react-query";
import { useState } from "react";
import { Form } from "react-aria-components";
import { useLocation } from "wouter";
import { api, ok } from "../api/client";
import { useMe, useSession } from "../session/session";
import { Button, Field, Window } from "../ui/controls";
import { ErrorNote, Loading } from "../ui/states";
import { ago, when } from "../ui/words";
import { Clients } from "./clients";

export function Account() {
  const { me } = useMe();
  return (
    <div className="cards">
      <h1>Account</h1>
      <p className="muted">
        {me?.name} · {me?.scopes.join(", ")}
      </p>
      <Clients />
      <Sessions />
      <Invite />
      <Password />
      <Leave />
    </div>
  );
}

function Sessions() {
  const client = useQueryClient();
  const { data, error } = useQuery({ queryKey: ["sessions"], queryFn: () => ok(api.GET("/auth/sessions")) });
  const end = useMutation({
    mutationFn: (session_id: string) =>
      ok(api.DELETE("/auth/sessions/{session_id}", { params: { path: { session_id } } })),
    onSuccess: () => client.invalidateQueries({ queryKey: ["sessions"] }),
  });
  return (
    <section className="card">
      <h2>Logins</h2>
      <ErrorNote error={error ?? end.error} />
      {!data && !error && <Loading what="Loading…" />}
      <ul className="list">
        {data?.map((session) => (
          <li key={session.id}>
            <span>
              <strong>{browser(session.user_agent)}</strong>{" "}
              {session.current && <em className="tag">this one</em>}
              <br />
              <span className="muted">
                {session.page ? "page" : "API"} · last used {ago(session.last_used_at)} · since{" "}
                {when(session.created_at)}
              </span>
            </span>
            {!session.current && (
              <Button
                onPress={() => end.mutate(session.id)}
                aria-label={`End the login of ${browser(session.user_agent)}`}
              >
                End
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
  const invite = useMutation({ mutationFn: () => ok(api.POST("/auth/invitations")) });
  const link = invite.data && `${location.origin}/sign-up?invitation=${invite.data.invitation}`;
  return (
    <section className="card">
      <h2>Colleagues</h2>
      <p>Who signs up by your invitation sees all studies of your group, and you see theirs.</p>
      <ErrorNote error={invite.error} />
      {link && invite.data && (
        <p>
          <code className="secret">{link}</code>
          <span className="muted"> For one person, until {when(invite.data.expires_at)}.</span>
        </p>
      )}
      <Button onPress={() => invite.mutate()} isPending={invite.isPending}>
        Make an invitation
      </Button>
    </section>
  );
}

function Password() {
  const [current, setCurrent] = useState("");
  const [fresh, setFresh] = useState("");
  const change = useMutation({
    mutationFn: () => ok(api.POST("/auth/password", { body: { current, new: fresh } })),
    onSuccess: () => {
      setCurrent("");
      setFresh("");
    },
  });
  return (
    <section className="card">
      <h2>Password</h2>
      <Form
        className="form"
        onSubmit={(event) => {
          event.preventDefault();
          change.mutate();
        }}
      >
        <Field
          label="Current password"
          type="password"
          autoComplete="current-password"
          value={current}
          onChange={setCurrent}
          isRequired
        />
        <Field
          label="New password"
          type="password"
          autoComplete="new-password"
          value={fresh}
          onChange={setFresh}
          isRequired
        />
        <ErrorNote error={change.error} />
        {change.isSuccess && <p role="status">The password was changed, and all other logins were ended.</p>}
        <Button type="submit" isPending={change.isPending}>
          Change
        </Button>
      </Form>
    </section>
  );
}

function Leave() {
  const { logOut } = useSession();
  const [, go] = useLocation();
  const [password, setPassword] = useState("");
  const leave = useMutation({
    mutationFn: () => ok(api.DELETE("/auth/me", { body: { password } })),
    onSuccess: async () => {
      await logOut(); // the session has gone with the account; here and in other tabs it is forgotten
      go("/");
    },
  });
  return (
    <section className="card">
      <h2>Leave</h2>
      <p>Deletes the account with its logins and machine clients. This can't be undone.</p>
      <ErrorNote error={leave.error} />
      <Window title="Delete your account?" trigger={<Button kind="danger">Delete the account</Button>}>
        {(close) => (
          <Form
            className="form"
            onSubmit={(event) => {
              event.preventDefault();
              leave.mutate();
              close();
            }}
          >
            <Field
              label="Password"
              type="password"
              value={password}
              onChange={setPassword}
              isRequired
              autoFocus
            />
            <Button kind="danger" type="submit">
              Delete
            </Button>
          </Form>
        )}
      </Window>
    </section>
  );
}
