/** What is on its way up. It survives changes of the view and the end of a session, and sends each study once. */
import { useSyncExternalStore } from "react";
import { type JobRef, jobRefOf } from "../api/addresses";
import { csrfToken } from "../api/csrf";
import { lastAccount } from "../session/account";
import { SessionOver, type Upload, uploadUntilAccepted } from "./send";
import { releaseSlot, takeSlot } from "./slots";

export type QueuedUpload = Upload & {
  id: number;
  /** The account that it belongs to; null for the open API. */
  owner: string | null;
  /** `held`: its session has ended; it is sent when its owner logs in. */
  state: "waiting" | "sending" | "sent" | "failed" | "held";
  share: number;
  job: JobRef | null;
  error: Error | null;
};
/** How an upload ended; null when it failed or is held. */
export type Outcome = JobRef | "cancelled" | null;

const MOST_FILES = 20;
let all: QueuedUpload[] = [];
let oneStudy = false;
let stop = new AbortController();
let counter = 0;
const listeners = new Set<() => void>();

function subscribe(listener: () => void) {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

export const useQueue = () => useSyncExternalStore(subscribe, () => all);
/** Whether all files given at once are one study, however they are given. */
export const useOneStudy = () => useSyncExternalStore(subscribe, () => oneStudy);

export function setOneStudy(on: boolean): void {
  oneStudy = on;
  for (const listener of listeners) listener();
}

export const isActive = ({ state }: QueuedUpload) => !["sent", "failed"].includes(state);
const warn = (event: BeforeUnloadEvent) => event.preventDefault();

function change(now: QueuedUpload[]): void {
  all = now;
  // Only while it is needed: browsers keep no page for the way back that listens to this.
  if (all.some(isActive)) window.addEventListener("beforeunload", warn);
  else window.removeEventListener("beforeunload", warn);
  for (const listener of listeners) listener();
}

const update = (id: number, by: Partial<QueuedUpload>) =>
  change(all.map((item) => (item.id === id ? { ...item, ...by } : item)));

/** Drop what has ended from the list. */
export const clearQueue = () => change(all.filter(isActive));
/** Drop what the account has sent, when its session ends. */
export const forgetSent = () => change(all.filter(({ state }) => state !== "sent"));

/** Stop what has not ended. */
export function cancelUploads(): void {
  stop.abort();
  stop = new AbortController();
  change(all.filter((item) => !isActive(item)));
}

/** Stop and drop everything: the page gets another user. */
export function resetQueue(): void {
  cancelUploads();
  change([]);
  setOneStudy(false);
}

/** After a login: send what waited for this account, drop what belongs to others. */
export function resumeUploads(account: string): void {
  stop.abort();
  stop = new AbortController();
  const own = all.filter((item) => item.owner === account && isActive(item));
  change(own.map((item) => ({ ...item, state: "waiting", share: 0, token: csrfToken() })));
  for (const item of all) void run(item);
}

/** Send files, each a study of its own or all as one. Returns what to await for each study. */
export function enqueue(files: File[]): Promise<Outcome>[] {
  const groups: File[][] = [];
  const size = oneStudy ? MOST_FILES : 1;
  for (let i = 0; i < files.length; i += size) groups.push(files.slice(i, i + size));
  const fresh = groups.map((group): QueuedUpload => {
    const more = group.length > 1 ? ` and ${group.length - 1} more` : "";
    const name = `${group[0]?.name ?? "image"}${more}`;
    const upload = { name, files: group, owner: owner(), token: csrfToken(), key: newKey() };
    return { ...upload, id: ++counter, state: "waiting", share: 0, job: null, error: null };
  });
  change([...fresh.toReversed(), ...all]);
  return fresh.map(run);
}

/** The account of now; unknown ("") while a page that was just loaded asks whose session it has. */
const owner = () => lastAccount() ?? (csrfToken() ? "" : null);

/** Once more, by the same key: should it have arrived after all, it is not stored twice. */
export function retryUpload(item: QueuedUpload): void {
  update(item.id, { state: "waiting", share: 0, error: null });
  void run(item);
}

async function run(item: QueuedUpload): Promise<Outcome> {
  const { signal } = stop;
  await takeSlot();
  try {
    signal.throwIfAborted();
    if (item.owner !== null && !item.token) throw new SessionOver();
    update(item.id, { state: "sending" });
    const receipt = await uploadUntilAccepted(item, (share) => update(item.id, { share }), signal);
    const job = jobRefOf(receipt.links.self ?? "");
    update(item.id, { state: "sent", share: 1, job });
    return job;
  } catch (error) {
    if (signal.aborted) return "cancelled";
    if (error instanceof SessionOver) update(item.id, { state: "held", share: 0 });
    else update(item.id, { state: "failed", error: error as Error });
    return null;
  } finally {
    releaseSlot();
  }
}

const newKey = () =>
  [...crypto.getRandomValues(new Uint8Array(16))].map((b) => b.toString(16).padStart(2, "0")).join("");
