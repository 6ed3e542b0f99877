/** Decodes off the main thread, so that the page stays quick while a large image comes in. */
import { picture } from "./codecs";
import { readDicom } from "./dicom";
import { type DecodeAnswer, type DecodeRequest, type Pixels, pyramid, spread } from "./pixels";

async function decode({ data, mediaType, note }: DecodeRequest): Promise<Pixels> {
  if (mediaType === "application/dicom") return readDicom(data);
  const image = await picture(new Blob([data], { type: mediaType }));
  const { minimum, maximum } = spread(image.data);
  return {
    levels: pyramid(image),
    slope: 1,
    intercept: 0,
    range: [minimum, Math.max(maximum, minimum + 1)],
    window: { center: 127.5, width: 255 },
    inverse: false,
    bits: 8,
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
