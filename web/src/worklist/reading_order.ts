/** Which studies were opened in this browser, and which come before and after one in the list last seen. */
import { lastAccount } from "../session/account";

const MOST_READ = 5000;
const readKey = () => `thorax.read.${lastAccount()}`;
const stored = (storage: Storage, key: string): string[] => JSON.parse(storage.getItem(key) ?? "[]");

export const readStudies = (): ReadonlySet<string> => new Set(stored(localStorage, readKey()));

export function markRead(id: string): void {
  const ids = [...readStudies()].filter((other) => other !== id);
  localStorage.setItem(readKey(), JSON.stringify([...ids, id].slice(-MOST_READ)));
}

const LIST = "thorax.list";
const SOON_MS = 300;
let list: string[] | undefined;
let timer: ReturnType<typeof setTimeout> | undefined;

/** Written soon, and not for each page that comes while somebody scrolls. */
export function rememberList(ids: string[]): void {
  list = ids;
  clearTimeout(timer);
  timer = setTimeout(() => sessionStorage.setItem(LIST, JSON.stringify(ids)), SOON_MS);
}

/** The study `step` places after one in the list last seen. */
export function neighbour(id: string, step: 1 | -1): string | undefined {
  const ids = list ?? stored(sessionStorage, LIST);
  const place = ids.indexOf(id);
  return place < 0 ? undefined : ids[place + step];
}
