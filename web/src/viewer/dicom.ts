/** Reads a DICOM radiograph: its header, and its grey values whatever their transfer syntax (PS3.5). */
import dicomParser, { type DataSet, type Element } from "dicom-parser";
import { decodeFrame } from "./codecs";
import { TAGS } from "./dicom_tags";
import { type HeaderRow, type Pixels, percentiles, pyramid } from "./pixels";

const ENCODINGS: Record<string, string> = {
  "ISO_IR 100": "latin1",
  "ISO_IR 192": "utf-8",
  "ISO_IR 13": "shift-jis",
};

/** What this page can't show as the standard demands, and the platform's prepared image can. */
const UNSUPPORTED: [(set: DataSet) => boolean, string][] = [
  [(set) => (set.uint16("x00280002") ?? 1) !== 1, "The image is in colour."],
  [({ elements }) => elements.x00283000 !== undefined, "The image has a Modality LUT."],
  [({ elements }) => elements.x00283010 !== undefined && !elements.x00281050, "The image has a VOI LUT."],
  [(set) => set.string("x00281056") === "SIGMOID", "The image has a sigmoid window."],
  [
    (set) => set.elements.x00280102 !== undefined && set.uint16("x00280102") !== stored(set) - 1,
    "The grey values are not in the lowest bits.",
  ],
  [
    // Padding is black whatever the polarity; inverted with the rest, it would be a white surround.
    (set) => set.elements.x00280120 !== undefined && isInverse(set),
    "The image has pixel padding.",
  ],
  [(set) => (set.floatString("x00281053") ?? 1) < 0, "The image has a negative rescale slope."],
];

const stored = (set: DataSet) => set.uint16("x00280101") ?? 0;
/** PS3.3 C.11.6.1.2: the presentation LUT shape, where there is one, and the photometric interpretation agree. */
const isInverse = (set: DataSet) =>
  set.string("x20500020") === "INVERSE" || set.string("x00280004") === "MONOCHROME1";

/** The whole image. Throws Error with a sentence for what this page can't show itself. */
export async function readDicom(data: ArrayBuffer): Promise<Pixels> {
  const file = new Uint8Array(data);
  const set = dicomParser.parseDicom(file);
  const word = (tag: string) => set.uint16(tag) ?? 0;
  const [height, width, bits] = [word("x00280010"), word("x00280011"), stored(set)];
  for (const [holds, why] of UNSUPPORTED) if (holds(set)) throw new Error(why);
  const raw = await decodeFrame(set, file);
  if (raw.length < width * height) throw new Error("The image is shorter than its header says.");
  const words = unsigned(raw.subarray(0, width * height), bits, word("x00280103") === 1);
  const slope = set.floatString("x00281053") || 1;
  const intercept = (set.floatString("x00281052") ?? 0) + words.offset * slope;
  const { low, high } = percentiles(words.data);
  const value = (level: number) => level * slope + intercept;
  const [center, across] = [set.floatString("x00281050"), set.floatString("x00281051")];
  const own = center !== undefined && across !== undefined && across > 1;
  const storedValue = (modality: number) => (modality - intercept) / slope;
  if (own && !isVisible(words.data, storedValue(center - across / 2), storedValue(center + across / 2 - 1)))
    throw new Error("The window of the file hides the image.");
  const [black, white] = [value(low), value(high)];
  return {
    levels: pyramid({ width, height, data: words.data }),
    slope,
    intercept,
    window: own
      ? { center, width: across }
      : { center: (black + white) / 2, width: Math.max(white - black, slope) },
    windows: own ? windows(set) : [],
    inverse: isInverse(set),
    bits,
    spacing: spacing(set),
    orientation: orientation(set),
    header: header(set, file),
    note: null,
  };
}

/** Stored values as uint16, and what was taken from them to get there. Bits beyond `bits` are cut off. */
function unsigned(raw: Uint8Array | Uint16Array | Int16Array, bits: number, signed: boolean) {
  const data = new Uint16Array(raw.length);
  const mask = (1 << bits) - 1;
  const half = signed ? 1 << (bits - 1) : 0;
  // Two's complement in `bits` bits: adding half of the range makes the lowest value 0.
  for (let i = 0; i < raw.length; i++) data[i] = ((raw[i]! & mask) + half) & mask;
  return { data, offset: -half };
}

/** Whether a window leaves any picture, as the platform judges it: a plainly wrong one shows black and white only. */
function isVisible(data: Uint16Array, black: number, white: number): boolean {
  let grey = 0;
  for (const word of data) if (word > black && word < white) grey++;
  return grey > data.length / 100;
}

/** PS3.3 10.7.1: a pixel spacing that equals the imager's was not corrected for magnification. */
function spacing(set: DataSet): Pixels["spacing"] {
  const [patient, detector] = ["x00280030", "x00181164"].map((tag) => {
    const [down, across] = [set.floatString(tag, 0), set.floatString(tag, 1)];
    return down && across ? { down, mm: across } : undefined;
  });
  if (patient) return { ...patient, at: patient.mm === detector?.mm ? "detector" : "patient" };
  return detector ? { ...detector, at: "detector" } : null;
}

/** PS3.3 C.11.2.1.2: several windows are alternatives, each with an explanation. */
function windows(set: DataSet): Pixels["windows"] {
  const values = (tag: string) => set.string(tag)?.split("\\") ?? [];
  const [centers, widths, names] = [values("x00281050"), values("x00281051"), values("x00281055")];
  if (centers.length < 2) return [];
  return centers
    .map((center, i) => ({
      center: Number(center),
      width: Number(widths[i]),
      name: names[i]?.trim() || `Window ${i + 1}`,
    }))
    .filter(({ center, width }) => Number.isFinite(center) && width > 1);
}

function orientation(set: DataSet): [string, string] | null {
  const [row, column] = set.string("x00200020")?.split("\\") ?? [];
  return row && column ? [row, column] : null;
}

function header(set: DataSet, file: Uint8Array): HeaderRow[] {
  const charset = set.string("x00080005")?.split("\\").at(-1) ?? "";
  const text = new TextDecoder(ENCODINGS[charset] ?? "latin1");
  return Object.values(set.elements)
    .filter(({ tag }) => !tag.endsWith("0000"))
    .map((element) => {
      const tag = element.tag.slice(1).toUpperCase();
      const known = TAGS.get(tag);
      const vr = element.vr ?? known?.vr ?? "UN";
      const name = known?.name ?? (Number.parseInt(tag.slice(0, 4), 16) % 2 ? "private" : "");
      return {
        tag: `${tag.slice(0, 4)},${tag.slice(4)}`,
        name,
        vr,
        value: shown(set, file, element, vr, text),
      };
    });
}

function shown(set: DataSet, file: Uint8Array, element: Element, vr: string, text: TextDecoder): string {
  const { tag, length, dataOffset } = element;
  if (element.items || vr === "SQ") return `${element.items?.length ?? 0} item(s)`;
  if (vr === "US") return String(set.uint16(tag) ?? "");
  if (vr === "SS") return String(set.int16(tag) ?? "");
  if (vr === "UL") return String(set.uint32(tag) ?? "");
  if (vr === "FL") return String(set.float(tag) ?? "");
  if (vr === "FD") return String(set.double(tag) ?? "");
  if (["OB", "OW", "UN", "OF"].includes(vr) || length > 2048) return `${length.toLocaleString("en")} bytes`;
  const value = text.decode(file.subarray(dataOffset, dataOffset + length));
  // biome-ignore lint/suspicious/noControlCharactersInRegex: values are padded with NUL
  return value.replace(/[\u0000\s]+$/g, "");
}
