/** How the platform does: what waits, who works, how full the disk is, which bundles are served. */
import { useQuery } from "@tanstack/react-query";
import type { ReactNode } from "react";
import { Link } from "wouter";
import { api, type Schemas, unwrap } from "../api/client";
import { ErrorNote, Loading } from "../ui/states";
import { percent, plural, seconds } from "../ui/words";

const REFRESH_MS = 5_000;

export function Platform() {
  const { data, error } = useQuery({
    queryKey: ["platform"],
    queryFn: () => unwrap(api.GET("/v1/admin/platform")),
    refetchInterval: REFRESH_MS,
  });
  return (
    <section className="card" aria-label="Platform">
      <h2>Platform</h2>
      <ErrorNote error={error} />
      {!data && !error && <Loading what="Loading…" />}
      {data && (
        <>
          <p>{inWords(data)}</p>
          <Table
            name="Queue"
            head={["Work", "Waiting", "Running", "Oldest waits"]}
            rows={data.queue.map(({ kind, backbone, waiting, running, oldest_s }) => [
              backbone ?? kind,
              waiting,
              running,
              oldest_s === null ? "—" : seconds(oldest_s),
            ])}
          />
          <Table
            name="Workers"
            head={["Process", "Work", "Runs on", "Last sign"]}
            rows={data.workers.map(({ id, service, kinds, backbones, provider, seen_s, alive }) => [
              <span key={id} title={id}>
                {service} {!alive && <em className="tag warn">silent</em>}
              </span>,
              [...kinds, ...backbones].join(", "),
              provider.replace("ExecutionProvider", "") || "—",
              <time key="sign">{seconds(Math.max(seen_s, 0))} ago</time>,
            ])}
          />
          <Table
            name="Bundles"
            head={["Bundle", "Digest", "Use", "Workers"]}
            rows={data.bundles.map(({ name, version, digest, shadow, workers, ...bundle }) => [
              <Link key={digest} href="/model">{`${name} ${version}`}</Link>,
              <code key="digest">{digest.slice(0, 12)}</code>,
              bundle.default ? "in use" : shadow ? "shadow" : "—",
              workers,
            ])}
          />
        </>
      )}
    </section>
  );
}

function inWords({ queue, workers, disk }: Schemas["PlatformView"]): string {
  const waiting = queue.reduce((sum, one) => sum + one.waiting, 0);
  const running = queue.reduce((sum, one) => sum + one.running, 0);
  const alive = workers.filter((one) => one.alive).length;
  const room = disk
    ? `${(disk.free_bytes / 1e9).toFixed(0)} GB of the disk are free (${percent(disk.free_bytes / disk.total_bytes)}).`
    : "Images are in an object store.";
  return `${plural(waiting, "step")} waiting, ${running} running, ${plural(alive, "process", "processes")} at work. ${room}`;
}

type TableProps = { name: string; head: string[]; rows: ReactNode[][] };

export function Table({ name, head, rows }: TableProps) {
  if (!rows.length) return <p className="muted">{name}: nothing now.</p>;
  return (
    <section className="scroll-x" tabIndex={0} aria-label={name}>
      <table>
        <thead>
          <tr>
            {head.map((title) => (
              <th scope="col" key={title}>
                {title}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {rows.map((cells, place) => (
            <tr key={place}>
              {cells.map((cell, i) => (
                <td key={head[i]}>{cell}</td>
              ))}
            </tr>
          ))}
        </tbody>
      </table>
    </section>
  );
}
