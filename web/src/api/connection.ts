/** Whether the server answers. While it does not, it is asked every two seconds, and then all views read anew. */
import { useSyncExternalStore } from "react";

const PROBE_MS = 2000;
const listeners = new Set<() => void>();
const returns = new Set<() => void>();
let online = true;
let timer: ReturnType<typeof setTimeout> | undefined;

function change(now: boolean): void {
  if (online === now) return;
  online = now;
  for (const listener of listeners) listener();
}

/** The server answered something. */
export function heard(): void {
  clearTimeout(timer);
  timer = undefined;
  if (online) return;
  change(true);
  for (const listener of returns) listener();
}

/** The server did not answer. */
export function lost(): void {
  change(false);
  timer ??= setTimeout(probe, PROBE_MS);
}

async function probe(): Promise<void> {
  timer = undefined;
  try {
    const answer = await fetch("/healthz", { cache: "no-store" });
    if (answer.ok) heard();
    else lost();
  } catch {
    lost();
  }
}

/** Call `listener` each time the server is back. */
export function onReturn(listener: () => void): () => void {
  returns.add(listener);
  return () => returns.delete(listener);
}

/** Resolves when the server answers; at once if it does. */
export function whenOnline(): Promise<void> {
  if (online) return Promise.resolve();
  return new Promise((done) => {
    const stop = onReturn(() => {
      stop();
      done();
    });
  });
}

/** For components: whether the server answers. */
export function useOnline(): boolean {
  return useSyncExternalStore(
    (listener) => {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    () => online,
  );
}
