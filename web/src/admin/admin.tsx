/** For administrators: who is here, what failed, which bundle answers. */
import { useInfiniteQuery, useMutation, useQueryClient } from "@tanstack/react-query";
import { Link } from "wouter";
import { api, ok } from "../api/client";
import { ownJob, retryJob, useActiveModel } from "../api/jobs";
import { useMe } from "../session/session";
import { Button } from "../ui/controls";
import { Empty, ErrorNote, Loading } from "../ui/states";
import { ago, when } from "../ui/words";
import { useJobs } from "../worklist/worklist";

export function Admin() {
  const { me } = useMe();
  const { model, auc } = useActiveModel();
  if (me && !me.scopes.includes("admin")) return <Empty title="For administrators only" />;
  return (
    <div className="cards">
      <h1>Administration</h1>
      <section className="card">
        <h2>Bundle in use</h2>
        {model ? (
          <p>
            <Link href="/model">{`${model.name} ${model.version}`}</Link>{" "}
            <code>{model.digest.slice(0, 12)}</code>
            <br />
            <span className="muted">{auc}</span>
          </p>
        ) : (
          <p>No bundle is active.</p>
        )}
      </section>
      <Failed />
      <Users />
    </div>
  );
}

function Failed() {
  const client = useQueryClient();
  const jobs = useJobs({ title: "", state: "failed", finding: "" });
  const items = jobs.data?.pages.flatMap((page) => page.items) ?? [];
  const retry = useMutation({
    mutationFn: (id: string) => retryJob(ownJob(id)),
    onSuccess: () => client.invalidateQueries({ queryKey: ["jobs"] }),
  });
  return (
    <section className="card">
      <h2>Failed work</h2>
      <ErrorNote error={jobs.error ?? retry.error} />
      {jobs.data && items.length === 0 && <p className="muted">Nothing has failed in your group.</p>}
      <ul className="list">
        {items.map((item) => (
          <li key={item.id}>
            <span>
              <Link href={`/studies/${item.id}`}>{item.title || "Untitled study"}</Link>
              <br />
              <span className="muted">failed {ago(item.finished_at ?? item.created_at)}</span>
            </span>
            <Button onPress={() => retry.mutate(item.id)} aria-label={`Retry ${item.title}`}>
              Retry
            </Button>
          </li>
        ))}
      </ul>
      {jobs.hasNextPage && <Button onPress={() => jobs.fetchNextPage()}>Show more</Button>}
    </section>
  );
}

type Deed = "disable" | "enable" | "promote" | "demote";

function Users() {
  const client = useQueryClient();
  const { me } = useMe();
  const users = useInfiniteQuery({
    queryKey: ["users"],
    queryFn: ({ pageParam }) =>
      ok(api.GET("/auth/users", { params: { query: { cursor: pageParam ?? undefined } } })),
    initialPageParam: null as string | null,
    getNextPageParam: ({ next }) => next,
  });
  const act = useMutation({
    mutationFn: ({ user_id, deed }: { user_id: string; deed: Deed }) =>
      ok(api.POST(`/auth/users/{user_id}/${deed}` as const, { params: { path: { user_id } } })),
    onSuccess: () => client.invalidateQueries({ queryKey: ["users"] }),
  });
  const items = users.data?.pages.flatMap((page) => page.items) ?? [];
  return (
    <section className="card">
      <h2>Users</h2>
      <ErrorNote error={users.error ?? act.error} />
      {users.isPending && !users.error && <Loading what="Loading…" />}
      <ul className="list">
        {items.map((user) => {
          const admin = user.scopes.includes("admin");
          const button = (deed: Deed, word: string) => (
            <Button
              onPress={() => act.mutate({ user_id: user.id, deed })}
              aria-label={`${word} ${user.name}`}
            >
              {word}
            </Button>
          );
          return (
            <li key={user.id}>
              <span>
                <strong>{user.name}</strong> {admin && <em className="tag">admin</em>}{" "}
                {user.disabled && <em className="tag warn">disabled</em>}
                <br />
                <span className="muted">since {when(user.created_at)}</span>
              </span>
              {user.id !== me?.id && (
                <span className="row">
                  {admin ? button("demote", "Demote") : button("promote", "Promote")}
                  {user.disabled ? button("enable", "Enable") : button("disable", "Disable")}
                </span>
              )}
            </li>
          );
        })}
      </ul>
      {users.hasNextPage && <Button onPress={() => users.fetchNextPage()}>Show more</Button>}
    </section>
  );
}
