/**
 * The account that this browser is or was last logged in with, kept until it logs out. Without a session its uploads
 * wait: they never reach the open API, whose results anyone with the link can see.
 */
import { useSyncExternalStore } from "react";

const KEY = "thorax.account";
const listeners = new Set<() => void>();

/** The account's id; null where nobody has logged in. */
export const lastAccount = () => localStorage.getItem(KEY);

export function setLastAccount(id: string | null): void {
  if (id === lastAccount()) return;
  if (id) localStorage.setItem(KEY, id);
  else localStorage.removeItem(KEY);
  for (const listener of listeners) listener();
}

function subscribe(listener: () => void) {
  listeners.add(listener);
  window.addEventListener("storage", listener);
  return () => {
    listeners.delete(listener);
    window.removeEventListener("storage", listener);
  };
}

export const useLastAccount = () => useSyncExternalStore(subscribe, lastAccount);
