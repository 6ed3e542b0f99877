/** What is written over the image: orientation, scale, window. */
import type { Image } from "../api/client";
import { percent } from "../ui/words";
import type { Pixels } from "./pixels";
import type { Drawing } from "./renderer";

type Props = { drawing: Drawing; pixels: Pixels; image: Image; width: number; note: string };

const OPPOSITE: Record<string, string> = { L: "R", R: "L", A: "P", P: "A", H: "F", F: "H" };
const opposite = (way: string) => [...way].map((letter) => OPPOSITE[letter] ?? letter).join("");

export function Marks({ drawing, pixels, image, width, note }: Props) {
  const { center, width: across } = drawing.window;
  const [row, column] = pixels.orientation ?? [null, null];
  const [{ width: columns, height: rows }] = pixels.levels as [Pixels["levels"][0]];
  return (
    <div className="marks">
      <p className="mark top-left">
        {image.view_position ?? ""} {columns} × {rows}, {pixels.bits} bit
      </p>
      <p className="mark bottom-left">
        {percent(drawing.view.scale)}
        <br />
        WL {Math.round(center)} · WW {Math.round(across)}
        {drawing.invert && " · inverted"}
      </p>
      {row && <span className="mark left">{opposite(row)}</span>}
      {row && <span className="mark right">{row}</span>}
      {column && <span className="mark top">{opposite(column)}</span>}
      {column && <span className="mark bottom">{column}</span>}
      {pixels.spacing && <Scale scale={drawing.view.scale} spacing={pixels.spacing} width={width} />}
      {note && (
        <p className="mark note-mark" role="status">
          {note}
        </p>
      )}
    </div>
  );
}

type ScaleProps = { scale: number; spacing: NonNullable<Pixels["spacing"]>; width: number };

function Scale({ scale, spacing, width }: ScaleProps) {
  const perMm = scale / spacing.mm;
  const length = [100, 50, 20, 10, 5, 2, 1].find((mm) => mm * perMm < width / 4) ?? 1;
  return (
    <div className="mark scale">
      {length} mm{spacing.at === "detector" && " at the detector"}
      <span style={{ width: length * perMm }} />
    </div>
  );
}
