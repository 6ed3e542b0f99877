/** What the page's address needs of the API, asked for while the page's own code is still on its way. */
const asked = new Map<string, Promise<unknown>>();

/** Ask for it. Settles, never badly, with undefined where it did not come: whoever needs it asks again, and is told. */
export function askEarly<T>(path: string): Promise<T | undefined> {
  const answer = fetch(path).then(
    (found): Promise<T> | undefined => (found.ok ? found.json() : undefined),
    () => undefined,
  );
  asked.set(path, answer);
  return answer;
}

/** The answer, for the first who asks for it. */
export function early<T>(path: string): Promise<T> | undefined {
  const answer = asked.get(path) as Promise<T> | undefined;
  asked.delete(path);
  return answer;
}
