/** The canvas that an image is drawn on, with its marks; without WebGL 2, the pictures that the gateway renders. */
import { useQuery } from "@tanstack/react-query";
import { type KeyboardEvent, type RefObject, useEffect, useMemo, useRef, useState } from "react";
import type { Finding, Image } from "../api/client";
import { isUnlikely, placeOnBar } from "../findings/reading";
import { ErrorNote, Loading, Picture } from "../ui/states";
import { Contour, type Smooth, softened } from "./contour";
import { useGestures } from "./gestures";
import { type Heatmap, heatmapQuery, pixelsQuery } from "./load";
import { Marks } from "./marks";
import { Measure, START_LINES } from "./measure";
import { Renderer } from "./renderer";
import { type Change, fitted, panned, project, toShare, type ViewState, windowed } from "./view_state";

type Props = {
  image: Image;
  finding: Finding | undefined;
  /** Where the contour is drawn, as a share of the heatmap's scale. */
  cut: number;
  view: ViewState;
  change: (by: Change) => void;
};

export function ImageCanvas({ image, finding, cut, view, change }: Props) {
  const canvas = useRef<HTMLCanvasElement>(null);
  const { data: pixels, error, refetch } = useQuery(pixelsQuery(image));
  // Once prepared, the image can replace an original that can't be shown here. A fetch that is under way may not know
  // of it yet: then there is one more.
  useEffect(() => {
    if (image.links.image && !pixels) void refetch().then((tried) => tried.error && refetch());
  }, [image.links.image]);
  const mapped = view.heat && finding && !isUnlikely(finding) ? finding : undefined;
  const heat = useQuery({ ...heatmapQuery(image, finding?.finding ?? ""), enabled: mapped !== undefined });
  const heatmap = useMemo(
    () => mapped && heat.data && scaled(heat.data, mapped),
    [mapped?.finding, heat.data],
  );
  const smooth = useMemo(() => heatmap && softened(heatmap), [heatmap]);
  const marked = useMemo(() => smooth && markedWords(smooth, image, cut), [smooth, image, cut]);
  const [lines, setLines] = useState(START_LINES);
  const { renderer, broken } = useRenderer(canvas);
  const [canvasSize, setCanvasSize] = useState({ width: 0, height: 0 });
  useEffect(() => {
    if (!canvas.current) return;
    const observer = new ResizeObserver(([entry]) => {
      const { width, height } = entry?.contentRect ?? { width: 0, height: 0 };
      setCanvasSize({ width, height });
    });
    observer.observe(canvas.current);
    return () => observer.disconnect();
  }, []);
  useEffect(() => {
    if (renderer && pixels) renderer.setImage(pixels);
  }, [renderer, pixels]);
  useEffect(() => {
    if (heatmap && !view.contour) renderer?.setHeat(heatmap);
    else renderer?.clearHeat();
  }, [renderer, heatmap, view.contour]);

  const pane = { ...canvasSize, width: view.split === "side" ? canvasSize.width / 2 : canvasSize.width };
  const drawing = useMemo(
    () => (pixels && pane.width > 0 ? project(view, pixels, pane) : null),
    [view, pixels, pane.width, pane.height],
  );
  useEffect(() => {
    if (!renderer || !drawing) return;
    const id = requestAnimationFrame(() => renderer.draw(drawing));
    return () => cancelAnimationFrame(id);
  }, [renderer, drawing, heatmap, view.contour]);

  const size = pixels ? fitted(pixels, pane) : null;
  const place = size && { view: view.view, pane, size };
  useGestures(canvas, view, size, change, (from, to) => {
    if (place) setLines((now) => ({ ...now, ruler: [toShare(from, place), toShare(to, place)] }));
  });
  const onKeyDown = (event: KeyboardEvent) => {
    const [dx, dy] = ARROWS[event.key] ?? [0, 0];
    if (!size || (!dx && !dy)) return;
    if (event.shiftKey) change((now) => windowed(now, dx / 10, -dy / 25));
    else change((now) => panned(now, -40 * dx, -40 * dy, size));
    event.preventDefault();
  };
  const name = image.file_name;
  const over = heatmap ? `, heatmap of ${finding?.label} over it` : "";
  const note = [
    pixels?.note,
    mapped && heat.error && !heatmap && `The heatmap of ${mapped.label} could not be loaded.`,
    marked,
    view.heat && finding && !mapped && `${finding.label} is unlikely, so it has no heatmap.`,
  ];
  return (
    <div className="stage">
      {broken ? (
        <Fallback {...{ image, view }} finding={mapped} />
      ) : (
        <canvas
          ref={canvas}
          tabIndex={0}
          role="img"
          aria-label={`X-ray ${name}${over}. Arrow keys move it.`}
          data-tool={view.tool}
          data-ready={pixels && (!mapped || heatmap) ? "" : undefined}
          onKeyDown={onKeyDown}
        />
      )}
      {view.split === "swipe" && <span className="swipe-line" style={{ left: `${view.swipe * 100}%` }} />}
      {pixels && place && drawing && !broken && (
        <div className="pane-over" style={{ width: pane.width, left: view.split === "side" ? "50%" : 0 }}>
          {smooth && mapped && view.contour && (
            <Contour
              {...{ smooth, cut, place }}
              label={mapped.label}
              opacity={view.opacity}
              from={view.split === "swipe" ? view.swipe : 0}
            />
          )}
          {(view.tool === "ruler" || view.tool === "ratio") && (
            <Measure
              {...{ lines, place, pixels }}
              tool={view.tool}
              onLines={setLines}
              view={image.view_position}
            />
          )}
        </div>
      )}
      {pixels && drawing && !broken && (
        <Marks {...{ drawing, pixels, image }} width={pane.width} note={note.filter(Boolean).join(" ")} />
      )}
      {!pixels && !error && !broken && <Loading what="Loading the image…" />}
      {error && <ErrorNote error={error} />}
    </div>
  );
}

/**
 * One scale for all images: the hottest place of a map has the finding's place on its bar, so that the middle of the
 * colours is its threshold. The stored map of a bundle of format 1 is relative, 255 at its own maximum.
 */
function scaled(heatmap: Heatmap, { probability, threshold, prevalence }: Finding): Heatmap {
  // A bundle that states a prevalence (format 2) has maps on one scale already, its own cut in the middle.
  if (prevalence) return heatmap;
  const strength = placeOnBar(probability, threshold);
  return { ...heatmap, data: heatmap.data.map((level) => level * strength) };
}

/** What a map shows. It is drawn smooth, not finer than what it was made from. */
function markedWords({ data }: Smooth, { maps }: Image, cut: number): string {
  const top = Math.max(...data) / 255;
  if (top < FAINTEST) return "Nothing is marked: no region stands out.";
  const faint = top < cut ? "Nothing reaches the mark of this finding. " : "";
  return faint + gridWords(maps);
}

function gridWords(maps: Image["maps"]): string {
  const edges = Object.values(maps?.backbones ?? {}).map(({ rows, columns }) => Math.max(rows, columns));
  const [low, high] = [Math.min(...edges), Math.max(...edges)];
  if (!edges.length) return "";
  const size = low === high ? `${high} × ${high}` : `${low} × ${low} to ${high} × ${high}`;
  return `Made from a grid of ${size}: a region, not a border.`;
}

/** The share of a map's scale below which its colours can't be told from none. */
const FAINTEST = 0.02;

const ARROWS: Record<string, [number, number]> = {
  ArrowLeft: [-1, 0],
  ArrowRight: [1, 0],
  ArrowUp: [0, -1],
  ArrowDown: [0, 1],
};

function useRenderer(canvas: RefObject<HTMLCanvasElement | null>) {
  const [renderer, setRenderer] = useState<Renderer | null>(null);
  const [broken, setBroken] = useState(false);
  useEffect(() => {
    const element = canvas.current;
    if (!element) return;
    let made: Renderer | null = null;
    const begin = () => {
      try {
        made = new Renderer(element);
        setRenderer(made);
      } catch {
        setBroken(true);
      }
    };
    const onLost = (event: Event) => {
      event.preventDefault(); // so that the context may be restored
      setRenderer(null);
    };
    begin();
    element.addEventListener("webglcontextlost", onLost);
    element.addEventListener("webglcontextrestored", begin);
    return () => {
      element.removeEventListener("webglcontextlost", onLost);
      element.removeEventListener("webglcontextrestored", begin);
      made?.dispose();
    };
  }, [canvas]);
  return { renderer, broken };
}

/** The pictures that the gateway renders, one over the other. */
function Fallback({ image, finding, view }: Omit<Props, "change" | "cut">) {
  if (!image.links.image) return null;
  const heat = finding ? image.links[`heatmap:${finding.finding}`] : undefined;
  return (
    <div className="pictures">
      <Picture src={image.links.image} alt={`X-ray ${image.file_name}`} />
      {heat && (
        <div style={{ opacity: view.opacity }}>
          <Picture src={`${heat}?colormap=${view.colorMap}`} alt={`Heatmap of ${finding?.label}`} />
        </div>
      )}
    </div>
  );
}
