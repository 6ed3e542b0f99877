/** The typed way to the API: CSRF, one renewal of the session, and problem documents as errors. */
import createClient from "openapi-fetch";
import { reportReachable, reportUnreachable } from "./connection";
import { csrfToken } from "./csrf";
import type { components, paths } from "./schema";

export type Schemas = components["schemas"];
export type Finding = Schemas["FindingView"];
export type Image = Schemas["ImageView"];
export type Job = Schemas["JobView"];
export type JobSummary = Schemas["JobSummary"];
export type Model = Schemas["ModelView"];

/** What a person does about a problem whose `remedy` is for programs. */
const REMEDIES: Record<string, string> = {
  validation_failed: "",
  unauthenticated: "Log in again.",
  csrf_failed: "Reload the page.",
  conflict: "Reload the page.",
  precondition_failed: "Reload the page.",
  not_found: "It may have been deleted.",
  not_acceptable: "",
  internal_error: "Try again.",
};

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
    const problem = (typeof body === "object" && body ? body : {}) as Partial<Schemas["Problem"]>;
    const code = problem.code ?? `http_${status}`;
    const wait = Number(retryAfter) || 0; // told in words beside the problem
    const remedy = wait ? "" : (REMEDIES[code] ?? problem.remedy);
    return new Problem(status, code, plain(sentence(problem)), remedy && plain(remedy), wait);
  }
}

function sentence({ detail, errors }: Partial<Schemas["Problem"]>): string {
  const [field] = errors ?? [];
  if (!field) return detail ?? "The server sent an unexpected answer. Try again later.";
  const what = String(field.what).replace(/^\w+ should/, "should");
  return `The field “${(field.where as unknown[]).slice(1).join(": ") || "body"}” ${what}.`;
}

const plain = (text: string) => text.replaceAll("`", "");

/** The server could not be reached; the request may be repeated. */
export class Offline extends Error {
  constructor() {
    super("Thorax can't be reached.");
  }
}

const SAFE = new Set(["GET", "HEAD"]);

async function fetchOnline(request: Request): Promise<Response> {
  try {
    const answer = await fetch(request);
    reportReachable();
    return answer;
  } catch (error) {
    if (request.signal.aborted) throw error;
    reportUnreachable();
    throw new Offline();
  }
}

const problemOf = async (answer: Response) =>
  Problem.of(answer.status, await answer.json().catch(() => null), answer.headers.get("Retry-After"));

let renewal: Promise<boolean> | null = null;

/** Renews the session, once for all who ask at the same time. False when it has ended; listeners are told. */
export function renewSession(): Promise<boolean> {
  renewal ??= renew().finally(() => {
    renewal = null;
  });
  return renewal;
}

async function renew(): Promise<boolean> {
  const token = csrfToken();
  if (token) {
    const headers = { "X-CSRF-Token": token };
    const answer = await fetchOnline(new Request("/auth/session/refresh", { method: "POST", headers }));
    if (answer.status === 409) await new Promise((done) => setTimeout(done, 1000)); // another tab renewed it
    if (answer.ok || answer.status === 409) return true;
    if (answer.status !== 401 && answer.status !== 403) throw await problemOf(answer);
    if (csrfToken() !== token) return false; // another tab has logged in meanwhile
  }
  // biome-ignore lint/suspicious/noDocumentCookie: the Cookie Store API is not in every browser.
  document.cookie = "thorax_csrf=; Max-Age=0; Path=/"; // or a reload would take the session for alive
  sessionEnded();
  return false;
}

let sessionEnded = () => {};
/** Calls `listener` when the session turns out to have ended. */
export function onSessionEnd(listener: () => void): void {
  sessionEnded = listener;
}

/** `fetch` with CSRF token and one renewal of the session. Throws Offline; returns answers of any status. */
export async function send(request: Request): Promise<Response> {
  const attempt = () => {
    const copy = request.clone();
    if (!SAFE.has(copy.method) && csrfToken()) copy.headers.set("X-CSRF-Token", csrfToken());
    return fetchOnline(copy);
  };
  const answer = await attempt();
  if (answer.status !== 401 || !(await hasExpired(answer))) return answer;
  return (await renewSession()) ? attempt() : answer;
}

/** A wrong password is a 401 too, but renewing the session does not help. */
async function hasExpired(answer: Response): Promise<boolean> {
  const body = await answer
    .clone()
    .json()
    .catch(() => null);
  return body?.code === "unauthenticated";
}

export const api = createClient<paths>({ fetch: send });

/** The data of an answer. Throws its Problem. */
export async function unwrap<T>(
  call: Promise<{ data?: T; error?: unknown; response: Response }>,
): Promise<T> {
  const { data, error, response } = await call;
  if (!response.ok) throw Problem.of(response.status, error, response.headers.get("Retry-After"));
  return data as T;
}

/** An answer of any address of the API. Throws its Problem. */
export async function request(path: string, init: RequestInit = {}): Promise<Response> {
  const answer = await send(new Request(path, init));
  if (!answer.ok) throw await problemOf(answer);
  return answer;
}
