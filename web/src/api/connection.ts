/** Whether the server answers. While it does not, it is asked every two seconds. */
import { useSyncExternalStore } from "react";

const PROBE_MS = 2000;
const listeners = new Set<() => void>();
let online = true;
let timer: ReturnType<typeof setTimeout> | undefined;

function setOnline(now: boolean): void {
  if (online === now) return;
  online = now;
  for (const listener of [...listeners]) listener();
}

export function reportReachable(): void {
  clearTimeout(timer);
  timer = undefined;
  setOnline(true);
}

export function reportUnreachable(): void {
  setOnline(false);
  timer ??= setTimeout(probe, PROBE_MS);
}

async function probe(): Promise<void> {
  timer = undefined;
  const answer = await fetch("/healthz", { cache: "no-store" }).catch(() => null);
  if (answer?.ok) reportReachable();
  else reportUnreachable();
}

function subscribe(listener: () => void) {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

/** Resolves when the server answers; at once if it does. */
export function whenOnline(): Promise<void> {
  if (online) return Promise.resolve();
  return new Promise((done) => {
    const stop = subscribe(() => {
      stop();
      done();
    });
  });
}

/** For components: whether the server answers. */
export const useOnline = () => useSyncExternalStore(subscribe, () => online);
