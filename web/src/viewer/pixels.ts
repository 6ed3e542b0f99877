/** What the decoder hands to the viewer: grey values of up to 16 bits with all that is needed to show them right. */
import type { Image } from "../api/client";

/** Halved again and again, so that a small view of a large image has no false patterns. */
export type Level = { width: number; height: number; data: Uint16Array };

export type Window = { center: number; width: number };

export type HeaderRow = { tag: string; name: string; vr: string; value: string };

export type Pixels = {
  levels: Level[];
  /** A modality value is `stored * slope + intercept`. */
  slope: number;
  intercept: number;
  /** The file's own window, or one that leaves out the outermost percent. */
  window: Window;
  /** All windows of the file, by their names; none where it has no more than one. */
  windows: (Window & { name: string })[];
  /** True when low values are to be shown bright (MONOCHROME1). */
  inverse: boolean;
  bits: number;
  /** Millimetres per pixel across and down, and where they were measured. */
  spacing: { mm: number; down: number; at: "patient" | "detector" } | null;
  /** PatientOrientation (PS3.3 C.7.6.1.1.1): where rows and columns go, e.g. ["L", "F"]. */
  orientation: [string, string] | null;
  header: HeaderRow[];
  /** Why this is not the original, where it is not. */
  note: string | null;
};

export type DecodeRequest = { data: ArrayBuffer; mediaType: Image["media_type"]; note: string | null };
export type DecodeAnswer = { pixels: Pixels } | { error: string };

/** The image and its halves down to 64 pixels; sizes as WebGL's mip levels have them. */
export function pyramid(base: Level): Level[] {
  const levels = [base];
  for (let last = base; Math.min(last.width, last.height) > 64; levels.push(last)) last = halved(last);
  return levels;
}

function halved({ width, height, data }: Level): Level {
  const [w, h] = [width >> 1, height >> 1];
  const out = new Uint16Array(w * h);
  for (let y = 0, to = 0; y < h; y++) {
    for (let x = 0, from = 2 * y * width; x < w; x++, from += 2) {
      out[to++] = (data[from]! + data[from + 1]! + data[from + width]! + data[from + width + 1]! + 2) >> 2;
    }
  }
  return { width: w, height: h, data: out };
}

/** Stored values below which 1 % and 99 % of the pixels lie. */
export function percentiles(data: Uint16Array): { low: number; high: number } {
  const counts = new Uint32Array(65536);
  for (let i = 0; i < data.length; i++) counts[data[i]!]!++;
  const at = (share: number) => {
    let left = share * data.length;
    for (let value = 0; value < 65536; value++) {
      left -= counts[value]!;
      if (left < 0) return value;
    }
    return 65535;
  };
  return { low: at(0.01), high: at(0.99) };
}
