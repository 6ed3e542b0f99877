/** Log in and sign up: one form. */
import { useMutation } from "@tanstack/react-query";
import { useState } from "react";
import { Link, useLocation, useSearch } from "wouter";
import { api, unwrap } from "../api/client";
import { Button, Field, Form } from "../ui/controls";
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
      if (signUp) await unwrap(api.POST("/auth/register", { body }));
      await logIn(name, password);
    },
    onSuccess: () => go(ownAddress(search.get("next")), { replace: true }),
  });
  const title = signUp ? "Create an account" : "Log in";
  return (
    <div className="narrow">
      <h1>{title}</h1>
      <section className="card">
        <Form onSubmit={() => enter.mutate()}>
          <Field
            label="Name or e-mail"
            value={name}
            onChange={setName}
            maxLength={254}
            autoComplete="username"
            required
            autoFocus
          />
          <Field
            label="Password"
            type="password"
            value={password}
            onChange={setPassword}
            autoComplete={signUp ? "new-password" : "current-password"}
            help={signUp ? "Use at least 12 characters, for example a sentence." : undefined}
            required
          />
          {signUp && (
            <Field
              label="Invitation (optional)"
              value={invitation}
              onChange={setInvitation}
              maxLength={100}
            />
          )}
          <ErrorNote error={enter.error} />
          <Button kind="primary" type="submit" isPending={enter.isPending}>
            {title}
          </Button>
        </Form>
      </section>
      <p className="muted">
        {signUp ? "Already have an account? " : "No account yet? "}
        <Link href={signUp ? "/log-in" : "/sign-up"}>{signUp ? "Log in" : "Create one"}</Link>, or{" "}
        <Link href="/">try Thorax without one</Link>.
      </p>
    </div>
  );
}

/** Only addresses of this page: a link must not lead elsewhere after the login. */
const ownAddress = (next: string | null) => (next?.match(/^\/[^/\\]/) || next === "/" ? next : "/studies");
