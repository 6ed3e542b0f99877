/** Where the API says who is logged in, and where the page and the API have a job. */
export const ME = "/auth/me";

/** A job of the signed-in tenant by its id, or one of the open API by its secret link. */
export type JobRef = { kind: "studies" | "open"; key: string };

const ADDRESSES = { studies: "/v1/jobs", open: "/v1/anonymous/jobs" };
export const apiPath = ({ kind, key }: JobRef) => `${ADDRESSES[kind]}/${key}`;
/** Where the page shows it. */
export const viewPath = ({ kind, key }: JobRef) => `/${kind}/${key}`;
export const ownJob = (id: string): JobRef => ({ kind: "studies", key: id });
/** The job that a link of the API leads to. */
export function jobRefOf(self: string): JobRef {
  const key = self.slice(self.lastIndexOf("/") + 1);
  return { kind: self.startsWith(ADDRESSES.open) ? "open" : "studies", key };
}

/** The job that an address of the page shows. */
export function jobAt(path: string): JobRef | undefined {
  const [, kind, key] = /^\/(studies|open)\/([^/]+)$/.exec(path) ?? [];
  return key ? { kind: kind as JobRef["kind"], key } : undefined;
}
