/** What is on its way up. It goes on while views change, ends with the session, and sends each study once. */
import { useSyncExternalStore } from "react";
import { csrf } from "../api/client";
import { type JobRef, refOf } from "../api/jobs";
import { type Parcel, persist } from "./send";
import { giveSlot, takeSlot } from "./slots";

export type Sending = Parcel & {
  id: number;
  state: "waiting" | "sending" | "sent" | "failed";
  share: number;
  job: JobRef | null;
  error: Error | null;
};
/** How an upload ended; null when it failed. */
export type Outcome = JobRef | "cancelled" | null;

const MOST_FILES = 20;
let all: Sending[] = [];
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

export const isActive = ({ state }: Sending) => state === "waiting" || state === "sending";
const warn = (event: BeforeUnloadEvent) => event.preventDefault();

function change(now: Sending[]): void {
  all = now;
  // Only while it is needed: browsers keep no page for the way back that listens to this.
  if (all.some(isActive)) window.addEventListener("beforeunload", warn);
  else window.removeEventListener("beforeunload", warn);
  for (const listener of listeners) listener();
}

const update = (id: number, by: Partial<Sending>) =>
  change(all.map((item) => (item.id === id ? { ...item, ...by } : item)));

/** Forget what has ended. */
export const clearQueue = () => change(all.filter(isActive));

/** Stop what has not ended. */
export function cancelUploads(): void {
  stop.abort();
  stop = new AbortController();
  change(all.filter((item) => !isActive(item)));
}

/** Stop and forget everything: it is another one's page now. */
export function resetQueue(): void {
  cancelUploads();
  change([]);
  setOneStudy(false);
}

/** Send files, each a study of its own or all as one. Returns what to await for each study. */
export function enqueue(files: File[]): Promise<Outcome>[] {
  const groups: File[][] = [];
  const size = oneStudy ? MOST_FILES : 1;
  for (let i = 0; i < files.length; i += size) groups.push(files.slice(i, i + size));
  const fresh = groups.map((group): Sending => {
    const more = group.length > 1 ? ` and ${group.length - 1} more` : "";
    const name = `${group[0]?.name ?? "image"}${more}`;
    const parcel = { name, files: group, token: csrf(), key: newKey() };
    return { ...parcel, id: ++counter, state: "waiting", share: 0, job: null, error: null };
  });
  change([...fresh.toReversed(), ...all]);
  return fresh.map(turn);
}

/** Once more, by the same key: should it have arrived after all, it is not stored twice. */
export function tryAgain(item: Sending): void {
  update(item.id, { state: "waiting", share: 0, error: null });
  void turn(item);
}

async function turn(item: Sending): Promise<Outcome> {
  const { signal } = stop;
  await takeSlot();
  try {
    signal.throwIfAborted();
    update(item.id, { state: "sending" });
    const receipt = await persist(item, (share) => update(item.id, { share }), signal);
    const job = refOf(receipt.links.self ?? "");
    update(item.id, { state: "sent", share: 1, job });
    return job;
  } catch (error) {
    if (signal.aborted) return "cancelled";
    update(item.id, { state: "failed", error: error as Error });
    return null;
  } finally {
    giveSlot();
  }
}

const newKey = () =>
  [...crypto.getRandomValues(new Uint8Array(16))].map((b) => b.toString(16).padStart(2, "0")).join("");
