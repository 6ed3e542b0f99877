/** From a DICOM data set to the samples of its first frame. Codecs are loaded when a file asks for them. */
import dicomParser, { type DataSet } from "dicom-parser";

export type Samples = Uint8Array | Uint16Array | Int16Array;

const IMPLICIT = "1.2.840.10008.1.2";
const BIG_ENDIAN = "1.2.840.10008.1.2.2";
const UNCOMPRESSED = new Set([IMPLICIT, "1.2.840.10008.1.2.1", BIG_ENDIAN]);

const DECODERS: Record<string, (data: Uint8Array, set: DataSet) => Promise<Samples>> = {
  "1.2.840.10008.1.2.5": async (data, set) => runLength(data, set),
  "1.2.840.10008.1.2.4.50": (data) => browserJpeg(data),
  "1.2.840.10008.1.2.4.57": (data) => losslessJpeg(data),
  "1.2.840.10008.1.2.4.70": (data) => losslessJpeg(data),
  "1.2.840.10008.1.2.4.80": (data) => emscripten(jpegLs, data),
  "1.2.840.10008.1.2.4.81": (data) => emscripten(jpegLs, data),
  "1.2.840.10008.1.2.4.90": (data) => emscripten(jpeg2000, data),
  "1.2.840.10008.1.2.4.91": (data) => emscripten(jpeg2000, data),
};

/** Samples of the first frame, 8 or 16 bits each. Throws Error for a transfer syntax that is not known here. */
export async function decodeFrame(set: DataSet, file: Uint8Array): Promise<Samples> {
  const syntax = set.string("x00020010") ?? IMPLICIT;
  const pixels = set.elements.x7fe00010;
  if (!pixels) throw new Error("The file contains no image.");
  if (UNCOMPRESSED.has(syntax)) return uncompressed(set, file, pixels.dataOffset, syntax === BIG_ENDIAN);
  const decode = DECODERS[syntax];
  if (!decode || !pixels.fragments)
    throw new Error(`Its transfer syntax (${syntax}) is not decoded in the browser.`);
  const first = pixels.basicOffsetTable?.length
    ? dicomParser.readEncapsulatedImageFrame(set, pixels, 0)
    : dicomParser.readEncapsulatedPixelDataFromFragments(set, pixels, 0, pixels.fragments.length);
  return decode(Uint8Array.from(first), set);
}

function uncompressed(set: DataSet, file: Uint8Array, offset: number, swap: boolean): Samples {
  const length = (set.uint16("x00280010") ?? 0) * (set.uint16("x00280011") ?? 0);
  if ((set.uint16("x00280100") ?? 16) <= 8) return file.subarray(offset, offset + length);
  const bytes = file.slice(offset, offset + 2 * length);
  if (!swap) return new Uint16Array(bytes.buffer, 0, bytes.length >> 1);
  const view = new DataView(bytes.buffer);
  return Uint16Array.from({ length: bytes.length >> 1 }, (_, i) => view.getUint16(2 * i));
}

/** RLE (PS3.5, annex G): a segment for each byte of a sample, the highest first, each packed as PackBits. */
function runLength(data: Uint8Array, set: DataSet): Samples {
  const length = (set.uint16("x00280010") ?? 0) * (set.uint16("x00280011") ?? 0);
  const header = new DataView(data.buffer, data.byteOffset, 64);
  const segments = header.getUint32(0, true);
  if (segments < 1 || segments > 2) throw new Error("Its RLE data has an unusual number of segments.");
  const out = new Uint16Array(length);
  for (let segment = 0; segment < segments; segment++) {
    const shift = 8 * (segments - 1 - segment);
    let from = header.getUint32(4 + 4 * segment, true);
    for (let to = 0; to < length && from < data.length; ) {
      const count = data[from++]!;
      if (count < 128) for (let n = 0; n <= count && to < length; n++) out[to++]! |= data[from++]! << shift;
      else if (count > 128) {
        const value = data[from++]! << shift;
        for (let n = 0; n < 257 - count && to < length; n++) out[to++]! |= value;
      }
    }
  }
  return out;
}

async function browserJpeg(data: Uint8Array): Promise<Samples> {
  return (await decodeByBrowser(new Blob([data as BlobPart], { type: "image/jpeg" }))).data;
}

/** What the browser itself can decode, as grey values (ITU-R BT.601, as the platform does). */
export async function decodeByBrowser(
  blob: Blob,
): Promise<{ width: number; height: number; data: Uint16Array }> {
  const bitmap = await createImageBitmap(blob, { colorSpaceConversion: "none" });
  const { width, height } = bitmap;
  const context = new OffscreenCanvas(width, height).getContext("2d", { willReadFrequently: true });
  if (!context) throw new Error("This browser can't read the image.");
  context.drawImage(bitmap, 0, 0);
  const rgba = context.getImageData(0, 0, width, height).data;
  const grey = new Uint16Array(width * height);
  for (let i = 0, from = 0; i < grey.length; i++, from += 4) {
    grey[i] = Math.round(0.299 * rgba[from]! + 0.587 * rgba[from + 1]! + 0.114 * rgba[from + 2]!);
  }
  return { width, height, data: grey };
}

async function losslessJpeg(data: Uint8Array): Promise<Samples> {
  const { Decoder } = await import("jpeg-lossless-decoder-js");
  const decoder = new Decoder();
  const out: ArrayBuffer = decoder.decompress(data.buffer, data.byteOffset, data.byteLength);
  return decoder.frame.precision <= 8 ? new Uint8Array(out) : new Uint16Array(out);
}

type FrameDecoder = {
  getEncodedBuffer(length: number): Uint8Array;
  getDecodedBuffer(): Uint8Array;
  getFrameInfo(): { bitsPerSample: number; isSigned?: boolean };
  decode(): void;
  delete(): void;
};

async function jpegLs(): Promise<FrameDecoder> {
  const [{ default: load }, { default: url }] = await Promise.all([
    import("@cornerstonejs/codec-charls/decodewasmjs"),
    import("@cornerstonejs/codec-charls/decodewasm?url"),
  ]);
  const codec = await load({ locateFile: () => url });
  return new codec.JpegLSDecoder();
}

async function jpeg2000(): Promise<FrameDecoder> {
  const [{ default: load }, { default: url }] = await Promise.all([
    import("@cornerstonejs/codec-openjpeg/decodewasmjs"),
    import("@cornerstonejs/codec-openjpeg/decodewasm?url"),
  ]);
  const codec = await load({ locateFile: () => url });
  return new codec.J2KDecoder();
}

async function emscripten(open: () => Promise<FrameDecoder>, data: Uint8Array): Promise<Samples> {
  const decoder = await open();
  try {
    decoder.getEncodedBuffer(data.length).set(data);
    decoder.decode();
    const { bitsPerSample, isSigned } = decoder.getFrameInfo();
    const out = decoder.getDecodedBuffer().slice();
    if (bitsPerSample <= 8) return out;
    return isSigned ? new Int16Array(out.buffer) : new Uint16Array(out.buffer);
  } finally {
    decoder.delete();
  }
}
