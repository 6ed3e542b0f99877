/** What is on its way up. It goes on while views change; each study is sent once, however often it has to be tried. */
import { useSyncExternalStore } from "react";
import { csrf, Offline, Problem, refresh, type Schemas } from "../api/client";
import { lost, whenOnline } from "../api/connection";
import { type JobRef, refOf } from "../api/jobs";

export type Sending = {
  id: number;
  name: string;
  files: File[];
  state: "waiting" | "sending" | "sent" | "failed";
  share: number;
  job: JobRef | null;
  error: Error | null;
};

const AT_ONCE = 3;
const MOST_FILES = 20;
let all: Sending[] = [];
let counter = 0;
const listeners = new Set<() => void>();

function update(id: number, change: Partial<Sending>): void {
  all = all.map((item) => (item.id === id ? { ...item, ...change } : item));
  for (const listener of listeners) listener();
}

export function useQueue(): Sending[] {
  return useSyncExternalStore(
    (listener) => {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    () => all,
  );
}

/** Forget what has ended. */
export function clearQueue(): void {
  all = all.filter(({ state }) => state === "waiting" || state === "sending");
  for (const listener of listeners) listener();
}

/** Send files, each a study of its own or all as one. Returns what to await for each study. */
export function enqueue(
  files: File[],
  options: { oneStudy: boolean; open: boolean },
): Promise<JobRef | null>[] {
  const groups: File[][] = [];
  if (options.oneStudy)
    for (let i = 0; i < files.length; i += MOST_FILES) groups.push(files.slice(i, i + MOST_FILES));
  else groups.push(...files.map((file) => [file]));
  const fresh = groups.map((group): Sending => {
    const more = group.length > 1 ? ` and ${group.length - 1} more` : "";
    const name = `${group[0]?.name ?? "image"}${more}`;
    return { id: ++counter, name, files: group, state: "waiting", share: 0, job: null, error: null };
  });
  all = [...fresh.toReversed(), ...all];
  return fresh.map((item) => turn(item, options.open));
}

let running = 0;
const waiting: (() => void)[] = [];

async function turn(item: Sending, open: boolean): Promise<JobRef | null> {
  if (running >= AT_ONCE) await new Promise<void>((done) => waiting.push(done));
  running++;
  update(item.id, { state: "sending" });
  try {
    const receipt = await persist(item, open);
    const job = refOf(receipt.links.self ?? "");
    update(item.id, { state: "sent", share: 1, job });
    return job;
  } catch (error) {
    update(item.id, { state: "failed", error: error as Error });
    return null;
  } finally {
    running--;
    waiting.shift()?.();
  }
}

/** Try until there is a receipt or a refusal; the key makes repetition safe. */
async function persist(item: Sending, open: boolean): Promise<Schemas["Accepted"]> {
  const key = [...crypto.getRandomValues(new Uint8Array(16))]
    .map((b) => b.toString(16).padStart(2, "0"))
    .join("");
  for (let attempt = 1; ; attempt++) {
    try {
      return await post(item, open, key);
    } catch (error) {
      if (error instanceof Offline) await whenOnline();
      else if (error instanceof Problem && error.status === 401 && attempt < 3 && (await refresh())) continue;
      else if (
        error instanceof Problem &&
        [503, 429].includes(error.status) &&
        error.retryAfter <= 30 &&
        attempt < 5
      )
        await new Promise((done) => setTimeout(done, 1000 * Math.max(error.retryAfter, 1)));
      else throw error;
    }
  }
}

/** One attempt. XMLHttpRequest, since fetch tells nothing of an upload's progress. */
function post(item: Sending, open: boolean, key: string): Promise<Schemas["Accepted"]> {
  const body = new FormData();
  for (const file of item.files) body.append("files", file);
  body.append("title", item.name);
  const request = new XMLHttpRequest();
  return new Promise((done, fail) => {
    request.upload.onprogress = ({ loaded, total }) => update(item.id, { share: total ? loaded / total : 0 });
    request.onerror = () => {
      lost();
      fail(new Offline());
    };
    request.onload = () => {
      const answer = parsed(request.responseText);
      if (request.status === 202) done(answer as Schemas["Accepted"]);
      else fail(Problem.of(request.status, answer, request.getResponseHeader("Retry-After")));
    };
    request.open("POST", open ? "/v1/anonymous/jobs" : "/v1/jobs");
    request.setRequestHeader("Idempotency-Key", key);
    if (!open && csrf()) request.setRequestHeader("X-CSRF-Token", csrf());
    request.send(body);
  });
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}
