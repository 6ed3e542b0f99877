/** Measuring on an image: a ruler, and the cardiothoracic ratio (Danzer 1919). Nothing of it is stored. */
import type { KeyboardEvent, PointerEvent } from "react";
import type { Pixels } from "./pixels";
import { type Place, type Point, toPane, toShare } from "./view_state";

/** Two ends, in shares of the image. */
type Line = [Point, Point];
export type Lines = Record<"ruler" | "heart" | "chest", Line>;
export const START_LINES: Lines = {
  ruler: [
    { x: 0.3, y: 0.5 },
    { x: 0.7, y: 0.5 },
  ],
  heart: [
    { x: 0.35, y: 0.6 },
    { x: 0.68, y: 0.6 },
  ],
  chest: [
    { x: 0.18, y: 0.7 },
    { x: 0.82, y: 0.7 },
  ],
};

type Props = {
  tool: "ruler" | "ratio";
  lines: Lines;
  onLines: (lines: Lines) => void;
  place: Place;
  pixels: Pixels;
  view: string | null;
};

export function Measure({ tool, lines, onLines, place, pixels, view }: Props) {
  const names = tool === "ruler" ? (["ruler"] as const) : (["chest", "heart"] as const);
  const move = (name: keyof Lines, end: 0 | 1, to: Point) => {
    const line: Line = [...lines[name]];
    line[end] = to;
    // The widths of heart and chest are horizontal: both ends keep one height.
    if (name !== "ruler") line[1 - end] = { ...line[1 - end]!, y: to.y };
    onLines({ ...lines, [name]: line });
  };
  return (
    <>
      <svg className="over" aria-hidden>
        {names.map((name) => {
          const [a, b] = lines[name].map((end) => toPane(end, place)) as Line;
          return <line key={name} className={`measured ${name}`} x1={a.x} y1={a.y} x2={b.x} y2={b.y} />;
        })}
      </svg>
      {names.map((name) =>
        ([0, 1] as const).map((end) => (
          <Handle
            key={`${name}${end}`}
            label={`${end ? "Right" : "Left"} end of the ${name === "ruler" ? name : `${name}'s width`}`}
            at={lines[name][end]}
            {...{ place, pixels }}
            onMove={(to) => move(name, end, to)}
          />
        )),
      )}
      <p className="mark reading" role="status">
        {tool === "ruler" ? length(lines.ruler, pixels).words : ratio(lines, pixels, view)}{" "}
        <span>Not stored.</span>
      </p>
    </>
  );
}

type HandleProps = { label: string; at: Point; place: Place; pixels: Pixels; onMove: (to: Point) => void };

/** One end of a line: dragged, or moved by arrow keys, a pixel at a time or with Shift ten. */
function Handle({ label, at, place, pixels, onMove }: HandleProps) {
  const { x, y } = toPane(at, place);
  const [{ width, height }] = pixels.levels as [Pixels["levels"][0]];
  const onPointerMove = (event: PointerEvent<HTMLElement>) => {
    const box = event.currentTarget.parentElement?.getBoundingClientRect();
    if (event.buttons && box)
      onMove(toShare({ x: event.clientX - box.left, y: event.clientY - box.top }, place));
  };
  const onKeyDown = (event: KeyboardEvent) => {
    const [dx, dy] =
      { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key] ?? [];
    if (dx === undefined || dy === undefined) return;
    const step = event.shiftKey ? 10 : 1;
    onMove({ x: at.x + (step * dx) / width, y: at.y + (step * dy) / height });
    event.preventDefault();
  };
  return (
    <button
      type="button"
      className="handle"
      style={{ left: x, top: y }}
      aria-label={`${label}. Arrow keys move it.`}
      onPointerDown={(event) => event.currentTarget.setPointerCapture(event.pointerId)}
      {...{ onPointerMove, onKeyDown }}
    />
  );
}

/** How a length was got from pixels (PS3.3 10.7.1): the patient is nearer to the tube than the detector, so smaller. */
const BY = {
  patient: "by Pixel Spacing",
  detector: "at the detector, by Imager Pixel Spacing",
};

const by = ({ spacing }: Pick<Pixels, "spacing">) => (spacing ? ` ${BY[spacing.at]}` : "");

function length([a, b]: Line, { levels, spacing }: Pixels) {
  const [{ width, height }] = levels as [Pixels["levels"][0]];
  const [dx, dy] = [(b.x - a.x) * width, (b.y - a.y) * height];
  const value = spacing ? Math.hypot(dx * spacing.mm, dy * spacing.down) : Math.hypot(dx, dy);
  const short = spacing ? `${value.toFixed(1)} mm` : `${Math.round(value)} px`;
  return {
    value,
    short,
    words: `${short}${by({ spacing }) || "; the file states no pixel spacing"}.`,
  };
}

function ratio({ heart, chest }: Lines, pixels: Pixels, view: string | null): string {
  // Where nobody has placed a line it measures nothing, but a number would look like a finding.
  if (heart === START_LINES.heart || chest === START_LINES.chest)
    return "Drag the ends of the lines to the widest parts of the heart and of the chest.";
  const [inner, outer] = [length(heart, pixels), length(chest, pixels)];
  const caution =
    view === "PA" ? "" : view === "AP" ? " An AP view enlarges the heart." : " It holds for PA views.";
  const share = outer.value ? (inner.value / outer.value).toFixed(2) : "—";
  return `Cardiothoracic ratio ${share}: heart ${inner.short}, chest ${outer.short}${by(pixels)}.${caution}`;
}
