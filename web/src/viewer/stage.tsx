/** The canvas that an image is drawn on, with its marks, and the pictures that stand in for it without WebGL 2. */
import { useQuery } from "@tanstack/react-query";
import { type KeyboardEvent, type RefObject, useEffect, useMemo, useRef, useState } from "react";
import type { Finding, Schemas } from "../api/client";
import { ErrorNote, Loading, Picture } from "../ui/states";
import { useGestures } from "./gestures";
import { heatQuery, pixelsQuery } from "./load";
import { Marks } from "./marks";
import { Renderer } from "./renderer";
import { type Change, fitted, panned, project, type State, windowed } from "./use_look";

type Props = {
  image: Schemas["ImageView"];
  finding: Finding | undefined;
  look: State;
  change: (by: Change) => void;
};

export function Stage({ image, finding, look, change }: Props) {
  const canvas = useRef<HTMLCanvasElement>(null);
  const { data: pixels, error, refetch } = useQuery(pixelsQuery(image));
  // Once prepared, the image can stand in for an original that can't be shown here. A fetch that is under way may not
  // know of it yet, so that there is one more if it fails; on a lasting failure no more than that.
  useEffect(() => {
    if (image.links.image && !pixels) void refetch().then((tried) => tried.error && refetch());
  }, [image.links.image]);
  const heat = useQuery({ ...heatQuery(image, finding?.finding ?? ""), enabled: finding !== undefined });
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
    if (heat.data) renderer?.setHeat(heat.data);
    else renderer?.clearHeat();
  }, [renderer, heat.data]);

  const pane = { ...canvasSize, width: look.split === "side" ? canvasSize.width / 2 : canvasSize.width };
  const shown = useMemo(
    () => (pixels && pane.width > 0 ? project(look, pixels, pane) : null),
    [look, pixels, pane.width, pane.height],
  );
  useEffect(() => {
    if (!renderer || !shown) return;
    const id = requestAnimationFrame(() => renderer.draw(shown));
    return () => cancelAnimationFrame(id);
  }, [renderer, shown, heat.data]);

  const size = pixels ? fitted(pixels, pane) : null;
  useGestures(canvas, look, size, change);
  const onKeyDown = (event: KeyboardEvent) => {
    const [dx, dy] = ARROWS[event.key] ?? [0, 0];
    if (!size || (!dx && !dy)) return;
    if (event.shiftKey) change((now) => windowed(now, dx / 10, -dy / 25));
    else change((now) => panned(now, -40 * dx, -40 * dy, size));
    event.preventDefault();
  };
  const name = image.file_name;
  const over = look.heat && finding && heat.data ? `, heatmap of ${finding.label} over it` : "";
  const lost = look.heat && finding && heat.error && !heat.data;
  const note = [pixels?.note, lost && `The heatmap of ${finding.label} could not be loaded.`];
  return (
    <div className="stage">
      {broken ? (
        <Fallback {...{ image, finding, look }} />
      ) : (
        <canvas
          ref={canvas}
          tabIndex={0}
          role="img"
          aria-label={`X-ray ${name}${over}. Arrow keys move it.`}
          data-tool={look.tool}
          data-ready={pixels && (!finding || heat.data) ? "" : undefined}
          onKeyDown={onKeyDown}
        />
      )}
      {look.split === "swipe" && <span className="swipe-line" style={{ left: `${look.swipe * 100}%` }} />}
      {pixels && shown && !broken && (
        <Marks {...{ shown, pixels, image }} width={pane.width} note={note.filter(Boolean).join(" ")} />
      )}
      {!pixels && !error && !broken && <Loading what="Loading the image…" />}
      {error && <ErrorNote error={error} />}
    </div>
  );
}

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
    const gone = (event: Event) => {
      event.preventDefault(); // so that the context may come back
      setRenderer(null);
    };
    begin();
    element.addEventListener("webglcontextlost", gone);
    element.addEventListener("webglcontextrestored", begin);
    return () => {
      element.removeEventListener("webglcontextlost", gone);
      element.removeEventListener("webglcontextrestored", begin);
      made?.dispose();
    };
  }, [canvas]);
  return { renderer, broken };
}

/** Without WebGL 2: the pictures that the gateway renders, one over the other. */
function Fallback({ image, finding, look }: Omit<Props, "change">) {
  if (!image.links.image) return null;
  const heat = finding && look.heat ? image.links[`heatmap:${finding.finding}`] : undefined;
  return (
    <div className="pictures">
      <Picture src={image.links.image} alt={`X-ray ${image.file_name}`} />
      {heat && (
        <div style={{ opacity: look.opacity }}>
          <Picture src={`${heat}?colormap=${look.colorMap}`} alt={`Heatmap of ${finding?.label}`} />
        </div>
      )}
    </div>
  );
}
