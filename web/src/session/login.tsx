/** Log in and sign up: one form in two words. */
import { useMutation } from "@tanstack/react-query";
import { useState } from "react";
import { Form } from "react-aria-components";
import { Link, useLocation, useSearch } from "wouter";
import { api, ok, Problem } from "../api/client";
import { Button, Field } from "../ui/controls";
import { ErrorNote } from "../ui/states";
import { useSession } from "./session";

export function Login({ signUp = false }: { signUp?: boolean }) {
  const search = new URLSearchParams(useSearch());
  const [, go] = useLocation();
  const { logIn } = useSession();
  const [name, setName] = useState("");
  const [password, setPassword] = useState("");
  const [invitation, setInvitation] = useState(search.get("invitation") ?? "");
  const enter = useMutation({
    mutationFn: async () => {
      const body = { name, password, invitation: invitation || null };
      if (signUp) await ok(api.POST("/auth/register", { body }));
      await logIn(name, password);
    },
    onSuccess: () => go(inside(search.get("next")), { replace: true }),
  });
  const weak = enter.error instanceof Problem && enter.error.code === "weak_password";
  const title = signUp ? "Create an account" : "Log in";
  return (
    <div className="narrow">
      <h1>{title}</h1>
      {search.has("ended") && <p className="note">Your session has ended. Please log in again.</p>}
      <Form
        className="card form"
        onSubmit={(event) => {
          event.preventDefault();
          enter.mutate();
        }}
      >
        <Field
          label="Name or e-mail"
          value={name}
          onChange={setName}
          autoComplete="username"
          isRequired
          autoFocus
        />
        <Field
          label="Password"
          type="password"
          value={password}
          onChange={setPassword}
          autoComplete={signUp ? "new-password" : "current-password"}
          help={signUp ? "At least 12 characters. A sentence is good." : undefined}
          error={weak ? enter.error?.message : undefined}
          isRequired
        />
        {signUp && <Field label="Invitation (optional)" value={invitation} onChange={setInvitation} />}
        {!weak && <ErrorNote error={enter.error} />}
        <Button kind="primary" type="submit" isPending={enter.isPending}>
          {title}
        </Button>
      </Form>
      <p className="muted">
        {signUp ? "You have an account? " : "No account yet? "}
        <Link href={signUp ? "/log-in" : "/sign-up"}>{signUp ? "Log in" : "Create one"}</Link>, or{" "}
        <Link href="/">try it without one</Link>.
      </p>
    </div>
  );
}

/** Only addresses of this page: a link must not lead elsewhere after the login. */
const inside = (next: string | null) => (next?.match(/^\/[^/\\]/) ? next : "/studies");
