/** One study on its way up: tried until there is a receipt, or a refusal that stays. */
import { Offline, Problem, refresh, type Schemas } from "../api/client";
import { lost, whenOnline } from "../api/connection";
import { goAlone } from "./slots";

/**
 * `token`: the CSRF token of the session that it belongs to, empty for the open API. The server refuses it in any
 * other session. `key` makes repetition safe.
 */
export type Parcel = { name: string; files: File[]; token: string; key: string };
type Receipt = Schemas["Accepted"];
type OnShare = (share: number) => void;

/** 507, a full storage, is not among them. */
const PASSING = [408, 429, 500, 502, 503, 504];
const MOST_REFUSALS = 5;
const MOST_BREAKS = 5;
const LONGEST_WAIT_S = 30;

/** Whether the same may be taken another time. */
export const mayPass = (error: unknown): boolean =>
  !(error instanceof Problem) || PASSING.includes(error.status);

/** Try until there is a receipt, a refusal that stays, or `signal`. To be called from a slot. */
export async function persist(parcel: Parcel, onShare: OnShare, signal: AbortSignal): Promise<Receipt> {
  let refusals = 0;
  let breaks = 0;
  for (;;) {
    signal.throwIfAborted();
    try {
      await readable(parcel.files);
      return await attempt(parcel, onShare, signal);
    } catch (error) {
      onShare(0);
      if (error instanceof Offline) {
        await unless(signal, whenOnline());
        if (++breaks === MOST_BREAKS)
          throw new Error(`The connection broke off ${breaks} times on the way, though Thorax answers.`);
        continue;
      }
      breaks = 0;
      const wait = error instanceof Problem && mayPass(error) ? Math.max(error.retryAfter, 1) : Infinity;
      if (wait > LONGEST_WAIT_S || ++refusals === MOST_REFUSALS) throw error;
      if (error instanceof Problem && error.status === 408) await goAlone();
      else await unless(signal, new Promise((done) => setTimeout(done, 1000 * wait)));
    }
  }
}

/** A folder, or a file whose disk was pulled out: the browser reports the upload of it as a lost connection. */
async function readable(files: File[]): Promise<void> {
  for (const file of files)
    await file
      .slice(0, 1)
      .arrayBuffer()
      .catch(() => {
        const remedy = "If it is a folder, drop the files in it; else see whether it is still there.";
        throw new Problem(0, "unreadable_file", `${file.name} can't be read.`, remedy);
      });
}

/** Send it, with one renewal of the session. When that has ended, `refresh` tells so and all of this is cancelled. */
async function attempt(parcel: Parcel, onShare: OnShare, signal: AbortSignal): Promise<Receipt> {
  try {
    return await post(parcel, onShare, signal);
  } catch (error) {
    if (!(error instanceof Problem && error.status === 401) || !(await unless(signal, refresh())))
      throw error;
    return post(parcel, onShare, signal);
  }
}

/** XMLHttpRequest, since fetch tells nothing of an upload's progress. */
function post({ name, files, token, key }: Parcel, onShare: OnShare, signal: AbortSignal): Promise<Receipt> {
  const body = new FormData();
  for (const file of files) body.append("files", file);
  body.append("title", name);
  const request = new XMLHttpRequest();
  const sent = new Promise<Receipt>((done, fail) => {
    request.upload.onprogress = ({ loaded, total }) => onShare(total ? loaded / total : 0);
    request.onerror = () => {
      lost();
      fail(new Offline());
    };
    request.onload = () => {
      const answer = parsed(request.responseText);
      if (request.status === 202) done(answer as Receipt);
      else fail(Problem.of(request.status, answer, request.getResponseHeader("Retry-After")));
    };
    request.open("POST", token ? "/v1/jobs" : "/v1/anonymous/jobs");
    request.setRequestHeader("Idempotency-Key", key);
    if (token) request.setRequestHeader("X-CSRF-Token", token);
    request.send(body);
  });
  return unless(signal, sent, () => request.abort());
}

/** What `promise` gives, unless `signal` comes first. */
function unless<T>(signal: AbortSignal, promise: Promise<T>, stop = () => {}): Promise<T> {
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
