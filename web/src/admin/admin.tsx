/** For administrators: how the platform does, failed jobs, users. */
import { useInfiniteQuery, useMutation, useQueryClient } from "@tanstack/react-query";
import { api, unwrap } from "../api/client";
import { useMe } from "../session/session";
import { Button } from "../ui/controls";
import { Empty, ErrorNote, Loading } from "../ui/states";
import { ago, plural, when } from "../ui/words";
import { Audit } from "./audit";
import { Deliveries } from "./deliveries";
import { Platform } from "./platform";
import { Readings } from "./readings";
import { Retention } from "./retention";
import { useTenantNames } from "./tenants";

export function Admin() {
  const { me } = useMe();
  if (me && !me.scopes.includes("admin")) return <Empty title="For administrators only" />;
  return (
    <div className="cards">
      <h1>Administration</h1>
      <Platform />
      <Failed />
      <Deliveries />
      <Users />
      <Audit />
    </div>
  );
}

function Failed() {
  const client = useQueryClient();
  const failed = useInfiniteQuery({
    queryKey: ["failed"],
    queryFn: ({ pageParam }) =>
      unwrap(api.GET("/v1/admin/failed", { params: { query: { cursor: pageParam ?? undefined } } })),
    initialPageParam: null as string | null,
    getNextPageParam: ({ next }) => next,
    refetchInterval: 15_000,
  });
  const items = failed.data?.pages.flatMap((page) => page.items) ?? [];
  const retry = useMutation({
    mutationFn: (job_id: string) =>
      unwrap(api.POST("/v1/admin/jobs/{job_id}/retry", { params: { path: { job_id } } })),
    onSettled: () => client.invalidateQueries({ queryKey: ["failed"] }),
  });
  const name = useTenantNames(items);
  return (
    <section className="card">
      <h2>Failed jobs</h2>
      <p className="muted">From all tenants. Titles and images stay private to each tenant.</p>
      <ErrorNote error={failed.error ?? retry.error} />
      {failed.isPending && !failed.error && <Loading what="Loading…" />}
      {failed.data && items.length === 0 && <p>No job has failed.</p>}
      <ul className="list">
        {items.map((job) => (
          <li key={job.id}>
            <span>
              <strong>{job.error?.title ?? "Answered without all networks"}</strong>{" "}
              <code>{job.id.slice(0, 8)}</code>
              {job.dead.map(({ kind, backbone, attempts }) => (
                <em className="tag warn" key={`${kind}${backbone}`}>
                  {`${backbone ?? kind} failed ${attempts} times`}
                </em>
              ))}
              {job.missing_backbones.length > 0 && (
                <em className="tag">without {job.missing_backbones.join(", ")}</em>
              )}
              <br />
              <span className="muted">
                {name(job.tenant_id)} · {job.error && `${job.error.code} · `}
                {plural(job.images, "image")} · {ago(job.finished_at)}
              </span>
            </span>
            {!job.error?.permanent && (
              <Button
                onPress={() => retry.mutate(job.id)}
                isPending={retry.isPending && retry.variables === job.id}
                aria-label={`Try ${job.id.slice(0, 8)} again`}
              >
                Try again
              </Button>
            )}
          </li>
        ))}
      </ul>
      {failed.hasNextPage && <Button onPress={() => failed.fetchNextPage()}>Show more</Button>}
    </section>
  );
}

type UserAction = "disable" | "enable" | "promote" | "demote";

function Users() {
  const client = useQueryClient();
  const { me } = useMe();
  const users = useInfiniteQuery({
    queryKey: ["users"],
    queryFn: ({ pageParam }) =>
      unwrap(api.GET("/auth/users", { params: { query: { cursor: pageParam ?? undefined } } })),
    initialPageParam: null as string | null,
    getNextPageParam: ({ next }) => next,
  });
  const act = useMutation({
    mutationFn: ({ user_id, action }: { user_id: string; action: UserAction }) =>
      unwrap(api.POST(`/auth/users/{user_id}/${action}` as const, { params: { path: { user_id } } })),
    onSuccess: () => client.invalidateQueries({ queryKey: ["users"] }),
  });
  const items = users.data?.pages.flatMap((page) => page.items) ?? [];
  const groups: Record<string, string> = {};
  for (const { tenant_id, name } of items)
    groups[tenant_id] = groups[tenant_id] ? `${groups[tenant_id]}, ${name}` : name;
  return (
    <>
      {users.data && (
        <>
          <Readings groups={groups} />
          <Retention groups={groups} />
        </>
      )}
      <section className="card">
        <h2>Users</h2>
        <ErrorNote error={users.error ?? act.error} />
        {users.isPending && !users.error && <Loading what="Loading…" />}
        <ul className="list">
          {items.map((user) => {
            const admin = user.scopes.includes("admin");
            const button = (action: UserAction, word: string) => (
              <Button
                onPress={() => act.mutate({ user_id: user.id, action })}
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
    </>
  );
}
