/** Grey values of PNGs of 16 bits, which browsers cut down to 8 (PNG specification, 3rd edition, 5.2 to 9.2). */
import type { Level } from "./pixels";

const SIGNATURE = [137, 80, 78, 71, 13, 10, 26, 10];
const SAMPLES: Record<number, number> = { 0: 1, 2: 3, 4: 2, 6: 4 }; // by colour type: grey, RGB, each with alpha

/** The image, or null for a PNG that the browser itself shows as well: not of 16 bits, or interlaced. */
export async function deepPng(data: ArrayBuffer): Promise<Level | null> {
  const view = new DataView(data);
  if (data.byteLength < 33 || SIGNATURE.some((byte, i) => view.getUint8(i) !== byte)) return null;
  const [width, height] = [view.getUint32(16), view.getUint32(20)];
  const samples = SAMPLES[view.getUint8(25)];
  if (view.getUint8(24) !== 16 || view.getUint8(28) !== 0 || !samples) return null;
  const packed: Uint8Array<ArrayBuffer>[] = [];
  for (let at = 8; at + 12 <= data.byteLength; at += 12 + view.getUint32(at)) {
    if (view.getUint32(at + 4) === 0x49444154) packed.push(new Uint8Array(data, at + 8, view.getUint32(at)));
  }
  const inflated = new Blob(packed).stream().pipeThrough(new DecompressionStream("deflate"));
  const lines = new Uint8Array(await new Response(inflated).arrayBuffer());
  const pixel = 2 * samples;
  const length = width * pixel;
  if (lines.length < height * (length + 1)) throw new Error("The image is shorter than its header says.");
  const grey = new Uint16Array(width * height);
  for (let y = 0, from = 0; y < height; y++, from += length + 1) {
    unfilter(lines, from, length, pixel, y > 0);
    for (let x = 0, at = from + 1; x < width; x++, at += pixel) {
      const value = (sample: number) => (lines[at + 2 * sample]! << 8) | lines[at + 2 * sample + 1]!;
      grey[y * width + x] =
        samples < 3 ? value(0) : Math.round(0.299 * value(0) + 0.587 * value(1) + 0.114 * value(2));
    }
  }
  return { width, height, data: grey };
}

/** Take back a line's filter, in place; `above`: whether there is a line before it. */
function unfilter(lines: Uint8Array, from: number, length: number, pixel: number, above: boolean): void {
  const filter = lines[from]!;
  if (!filter) return;
  for (let i = 1; i <= length; i++) {
    const at = from + i;
    const left = i > pixel ? lines[at - pixel]! : 0;
    const up = above ? lines[at - length - 1]! : 0;
    const corner = above && i > pixel ? lines[at - length - 1 - pixel]! : 0;
    lines[at]! +=
      filter === 1 ? left : filter === 2 ? up : filter === 3 ? (left + up) >> 1 : paeth(left, up, corner);
  }
}

function paeth(left: number, up: number, corner: number): number {
  const guess = left + up - corner;
  const [a, b, c] = [Math.abs(guess - left), Math.abs(guess - up), Math.abs(guess - corner)];
  return a <= b && a <= c ? left : b <= c ? up : corner;
}
