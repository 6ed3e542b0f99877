/** How many uploads run at once: a few, and only one on a line that proved too slow for a few. */
const AT_ONCE = 3;
let most = AT_ONCE;
let running = 0;
const waiting: (() => void)[] = [];

/** Resolves when there is room. Who takes a slot gives it back. */
export async function takeSlot(): Promise<void> {
  while (running >= most) await new Promise<void>((go) => waiting.push(go));
  running++;
}

export function giveSlot(): void {
  running--;
  if (!running && !waiting.length) most = AT_ONCE;
  waiting.shift()?.();
}

/** From a slot that one has to one that nobody shares. All others go one by one as well, until none is left. */
export function goAlone(): Promise<void> {
  most = 1;
  running--;
  waiting.shift()?.();
  return takeSlot();
}
