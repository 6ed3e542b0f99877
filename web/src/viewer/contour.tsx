/** The contour of a heatmap at the finding's own cut, smooth and with its name. */
import { blur2 } from "d3-array";
import { contours } from "d3-contour";
import { useMemo } from "react";
import type { Heatmap } from "./load";
import { type Place, toPane } from "./view_state";

/** `cut`: the share of the scale at which the line is drawn. `from`: the share of the pane at the left that stays free. */
type Props = { smooth: Smooth; cut: number; label: string; place: Place; opacity: number; from: number };

export function Contour({ smooth, cut, label, place, opacity, from }: Props) {
  const { width, height } = smooth;
  const rings = useMemo(() => ringsOf(smooth, cut), [smooth, cut]);
  const onPane = ([x = 0, y = 0]: number[]) => toPane({ x: x / width, y: y / height }, place);
  const lines = rings.map((ring) => ring.map(onPane));
  const path = lines.map(
    (line) => `M${line.map(({ x, y }) => `${x.toFixed(1)},${y.toFixed(1)}`).join("L")}Z`,
  );
  // The name stands above the largest area.
  const top = lines[0]?.reduce((high, point) => (point.y < high.y ? point : high));
  return (
    <svg className="over" style={{ opacity, clipPath: `inset(0 0 0 ${100 * from}%)` }} aria-hidden>
      <path className="contour" d={path.join("")} />
      {top && (
        <text className="contour-name" x={top.x} y={Math.max(top.y - 6, 14)}>
          {label}
        </text>
      )}
    </svg>
  );
}

/** A map as its contour is drawn: the steps between its 256 levels are smoothed. */
export type Smooth = { width: number; height: number; data: number[] };
export const softened = ({ width, height, data }: Heatmap): Smooth => ({
  width,
  height,
  data: Array.from(blur2({ data: Float64Array.from(data), width, height }, 1.5).data),
});

/** The outlines of what reaches `cut`, the largest area first, as points of the map's grid. */
function ringsOf({ width, height, data }: Smooth, cut: number): number[][][] {
  const found = contours()
    .size([width, height])
    .contour(data, 255 * cut);
  return found.coordinates.flat().toSorted((a, b) => Math.abs(area(b)) - Math.abs(area(a)));
}

/** Twice the area within a ring. */
const area = (ring: number[][]) =>
  ring.reduce((sum, [x = 0, y = 0], i) => {
    const [u = 0, v = 0] = ring[(i + 1) % ring.length] ?? [];
    return sum + x * v - u * y;
  }, 0);
