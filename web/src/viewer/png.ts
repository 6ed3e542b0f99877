/** Grey values of PNGs of 16 bits, which browsers cut down to 8. */
import { decode } from "fast-png";
import type { Level } from "./pixels";

/** The image, or null for a PNG that is not of 16 bits: the browser shows it as well. */
export function decodePng16(data: ArrayBuffer): Level | null {
  if (new DataView(data).getUint8(24) !== 16) return null; // bit depth, in the header chunk
  const { width, height, channels, data: samples } = decode(data);
  const grey = Uint16Array.from({ length: width * height }, (_, i) => {
    const at = i * channels;
    if (channels < 3) return samples[at]!;
    return Math.round(0.299 * samples[at]! + 0.587 * samples[at + 1]! + 0.114 * samples[at + 2]!);
  });
  return { width, height, data: grey };
}
