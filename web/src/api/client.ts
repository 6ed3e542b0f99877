/** The way to the API: typed by the gateway's own OpenAPI, with CSRF, one quiet refresh, and problems as errors. */
import createClient from "openapi-fetch";
import { heard, lost } from "./connection";
import type { components, paths } from "./schema";

export type Schemas = components["schemas"];
export type Finding = Schemas["FindingView"];
/** Each backbone's own probability; none where the API leaves them out. */
export const backbonesOf = (finding: Finding): Record<string, number> => finding.backbones ?? {};
export type Job = Schemas["JobView"];
export type JobSummary = Schemas["JobSummary"];
export type Model = Schemas["ModelView"];

/** A problem document (RFC 9457): a sentence, what to do about it, and a code for support. */
export class Problem extends Error {
  constructor(
    readonly status: number,
    readonly code: string,
    detail: string,
    readonly remedy = "",
    readonly retryAfter = 0,
  ) {
    super(detail);
  }

  static of(status: number, body: unknown, retryAfter: string | null = null): Problem {
    const told = (typeof body === "object" && body ? body : {}) as Partial<Schemas["Problem"]>;
    const detail = told.detail ?? "The server gave an answer that nobody expected.";
    return new Problem(status, told.code ?? `http_${status}`, detail, told.remedy, Number(retryAfter) || 0);
  }
}

/** The server could not be reached; what failed may be tried again. */
export class Offline extends Error {
  constructor() {
    super("Thorax can't be reached at the moment.");
  }
}

const SAFE = new Set(["GET", "HEAD"]);

/** The CSRF token of the page's session; empty without a session. */
export function csrf(): string {
  const found = document.cookie.split("; ").find((cookie) => cookie.startsWith("thorax_csrf="));
  return found ? decodeURIComponent(found.slice("thorax_csrf=".length)) : "";
}

async function reach(request: Request): Promise<Response> {
  try {
    const answer = await fetch(request);
    heard();
    return answer;
  } catch (error) {
    if (request.signal.aborted) throw error;
    lost();
    throw new Offline();
  }
}

const refused = async (answer: Response) =>
  Problem.of(answer.status, await answer.json().catch(() => null), answer.headers.get("Retry-After"));

let refreshing: Promise<boolean> | null = null;

/** New cookies for old, once for all who ask at the same time; false when the session has ended, which is told. */
export function refresh(): Promise<boolean> {
  refreshing ??= renew().finally(() => {
    refreshing = null;
  });
  return refreshing;
}

async function renew(): Promise<boolean> {
  const token = csrf();
  if (token) {
    const headers = { "X-CSRF-Token": token };
    const answer = await reach(new Request("/auth/session/refresh", { method: "POST", headers }));
    if (answer.status === 409) await new Promise((done) => setTimeout(done, 1000)); // another tab did it
    if (answer.ok || answer.status === 409) return true;
    if (answer.status !== 401 && answer.status !== 403) throw await refused(answer);
    if (csrf() !== token) return false; // somebody has logged in meanwhile, in another tab
  }
  end();
  return false;
}

/** Without its cookie nobody takes the session for alive, after a reload neither. */
function end(): void {
  // biome-ignore lint/suspicious/noDocumentCookie: the Cookie Store API is not in every browser.
  document.cookie = "thorax_csrf=; Max-Age=0; Path=/";
  ended();
}

let ended = () => {};
/** Who is told when the session turns out to have ended. */
export function onEnd(listener: () => void): void {
  ended = listener;
}

/** `fetch` with the session's care. Raises Offline; answers of any status are returned. */
export async function send(request: Request): Promise<Response> {
  const attempt = () => {
    const copy = request.clone();
    if (!SAFE.has(copy.method) && csrf()) copy.headers.set("X-CSRF-Token", csrf());
    return reach(copy);
  };
  const answer = await attempt();
  if (answer.status !== 401 || !(await isStale(answer))) return answer;
  return (await refresh()) ? attempt() : answer;
}

/** A wrong password is a 401 too, and no reason to renew anything. */
async function isStale(answer: Response): Promise<boolean> {
  const told = await answer
    .clone()
    .json()
    .catch(() => null);
  return told?.code === "unauthenticated";
}

export const api = createClient<paths>({ fetch: send });

/** The data of an answer, or its Problem thrown. */
export async function ok<T>(call: Promise<{ data?: T; error?: unknown; response: Response }>): Promise<T> {
  const { data, error, response } = await call;
  if (!response.ok) throw Problem.of(response.status, error, response.headers.get("Retry-After"));
  return data as T;
}

/** Bytes of a picture or an original. */
export async function bytes(path: string, signal?: AbortSignal): Promise<ArrayBuffer> {
  const answer = await send(new Request(path, { signal }));
  if (!answer.ok) throw await refused(answer);
  return answer.arrayBuffer();
}
