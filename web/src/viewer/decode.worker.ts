/** Decodes off the main thread, so that the page stays responsive while a large image is loaded. */
import { decodeByBrowser } from "./codecs";
import { readDicom } from "./dicom";
import { type DecodeAnswer, type DecodeRequest, type Pixels, percentiles, pyramid } from "./pixels";
import { decodePng16 } from "./png";

async function decode({ data, mediaType, note }: DecodeRequest): Promise<Pixels> {
  if (mediaType === "application/dicom") return readDicom(data);
  const deep = mediaType === "image/png" ? decodePng16(data) : null;
  const image = deep ?? (await decodeByBrowser(new Blob([data], { type: mediaType })));
  const { low, high } = percentiles(image.data);
  return {
    levels: pyramid(image),
    slope: 1,
    intercept: 0,
    window: deep
      ? { center: (low + high) / 2, width: Math.max(high - low, 1) }
      : { center: 127.5, width: 255 },
    windows: [],
    inverse: false,
    bits: deep ? 16 : 8,
    spacing: null,
    orientation: null,
    header: [],
    note,
  };
}

self.onmessage = async ({ data }: MessageEvent<DecodeRequest>) => {
  let answer: DecodeAnswer;
  try {
    answer = { pixels: await decode(data) };
  } catch (error) {
    answer = { error: error instanceof Error ? error.message : "The image can't be decoded here." };
  }
  const transfer = "pixels" in answer ? answer.pixels.levels.map((level) => level.data.buffer) : [];
  self.postMessage(answer, { transfer });
};
