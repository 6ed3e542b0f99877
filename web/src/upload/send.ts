/** One study on its way up: repeated until there is a receipt, or a refusal that stays. */
import { Offline, Problem, renewSession, type Schemas } from "../api/client";
import { reportUnreachable, whenOnline } from "../api/connection";
import { takeOnlySlot } from "./slots";

/**
 * `owner` is null for the open API. `token` is the CSRF token of the owner's session: the server refuses it in any
 * other. `key` makes repetition safe.
 */
export type Upload = { name: string; files: File[]; owner: string | null; token: string; key: string };
type Receipt = Schemas["Accepted"];
type OnShare = (share: number) => void;

/** The owner's session has ended. */
export class SessionOver extends Error {}

/** 507, a full storage, is not among them. */
const TEMPORARY = [408, 429, 500, 502, 503, 504];
const MOST_REFUSALS = 5;
const MOST_BREAKS = 5;
const LONGEST_WAIT_S = 30;

/** Whether the same may be accepted another time. */
export const isTemporary = (error: unknown): boolean =>
  !(error instanceof Problem) || TEMPORARY.includes(error.status);

/** Repeat until there is a receipt, a refusal that stays, or `signal`. To be called from a slot. Throws SessionOver. */
export async function uploadUntilAccepted(
  upload: Upload,
  onShare: OnShare,
  signal: AbortSignal,
): Promise<Receipt> {
  let refusals = 0;
  let breaks = 0;
  for (;;) {
    signal.throwIfAborted();
    try {
      await assertReadable(upload.files);
      return await postWithRenewal(upload, onShare, signal);
    } catch (error) {
      onShare(0);
      if (error instanceof SessionOver) throw error;
      if (error instanceof Offline) {
        await untilAborted(signal, whenOnline());
        if (++breaks === MOST_BREAKS)
          throw new Error(`The connection broke off ${breaks} times. Check the network and try again.`);
        continue;
      }
      breaks = 0;
      const wait = error instanceof Problem && isTemporary(error) ? Math.max(error.retryAfter, 1) : Infinity;
      if (wait > LONGEST_WAIT_S || ++refusals === MOST_REFUSALS) throw error;
      if (error instanceof Problem && error.status === 408) await takeOnlySlot();
      else await untilAborted(signal, new Promise((done) => setTimeout(done, 1000 * wait)));
    }
  }
}

/** A folder, or a file that was removed: the browser reports the upload of it as a lost connection. */
async function assertReadable(files: File[]): Promise<void> {
  for (const file of files)
    await file
      .slice(0, 1)
      .arrayBuffer()
      .catch(() => {
        const remedy =
          "If it is a folder, drop the files inside it. Otherwise check that the file still exists.";
        throw new Problem(0, "unreadable_file", `${file.name} can't be read.`, remedy);
      });
}

async function postWithRenewal(upload: Upload, onShare: OnShare, signal: AbortSignal): Promise<Receipt> {
  try {
    return await post(upload, onShare, signal);
  } catch (error) {
    if (!(upload.owner !== null && error instanceof Problem && error.status === 401)) throw error;
    if (!(await untilAborted(signal, renewSession()))) throw new SessionOver();
    return post(upload, onShare, signal);
  }
}

/** XMLHttpRequest, since fetch does not report an upload's progress. */
function post(
  { name, files, owner, token, key }: Upload,
  onShare: OnShare,
  signal: AbortSignal,
): Promise<Receipt> {
  const body = new FormData();
  for (const file of files) body.append("files", file);
  body.append("title", name);
  const request = new XMLHttpRequest();
  const sent = new Promise<Receipt>((done, fail) => {
    request.upload.onprogress = ({ loaded, total }) => onShare(total ? loaded / total : 0);
    request.onerror = () => {
      reportUnreachable();
      fail(new Offline());
    };
    request.onload = () => {
      const answer = parsed(request.responseText);
      if (request.status === 202) done(answer as Receipt);
      else fail(Problem.of(request.status, answer, request.getResponseHeader("Retry-After")));
    };
    request.open("POST", owner !== null ? "/v1/jobs" : "/v1/anonymous/jobs");
    request.setRequestHeader("Idempotency-Key", key);
    if (owner !== null) request.setRequestHeader("X-CSRF-Token", token);
    request.send(body);
  });
  return untilAborted(signal, sent, () => request.abort());
}

/** What `promise` gives, unless `signal` comes first. */
function untilAborted<T>(signal: AbortSignal, promise: Promise<T>, stop = () => {}): Promise<T> {
  return new Promise((done, fail) => {
    const cancel = () => {
      stop();
      fail(signal.reason);
    };
    if (signal.aborted) cancel();
    signal.addEventListener("abort", cancel);
    promise.then(done, fail).finally(() => signal.removeEventListener("abort", cancel));
  });
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}
