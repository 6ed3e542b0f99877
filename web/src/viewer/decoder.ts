/** The worker that decodes an image, started before it is known which one that is. */
const newDecoder = () => new Worker(new URL("./decode.worker.ts", import.meta.url), { type: "module" });
let spare: Worker | undefined;

export function decoderAhead(): void {
  if (spare) return;
  spare = newDecoder();
  spare.onerror = () => {
    spare = undefined; // whoever needs one tries again, and is told
  };
}

/** One that is the caller's, to be terminated after its image. */
export function takeDecoder(): Worker {
  const worker = spare ?? newDecoder();
  spare = undefined;
  return worker;
}
