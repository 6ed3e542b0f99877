/** How many uploads run at once: a few, and only one on a line that proved too slow for a few. */
const AT_ONCE = 3;
let most = AT_ONCE;
let running = 0;
const waiting: (() => void)[] = [];

/** Resolves when there is room. Who takes a slot releases it. */
export async function takeSlot(): Promise<void> {
  while (running >= most) await new Promise<void>((done) => waiting.push(done));
  running++;
}

export function releaseSlot(): void {
  running--;
  if (!running && !waiting.length) most = AT_ONCE;
  waiting.shift()?.();
}

/** Exchanges a slot for the only one: all others wait for each other too, until none is left. */
export function takeOnlySlot(): Promise<void> {
  most = 1;
  running--;
  waiting.shift()?.();
  return takeSlot();
}
