/** The image with its tools: zoom, pan, window and level, and the heatmap of the chosen finding over it. */
import { useQuery } from "@tanstack/react-query";
import { useCallback, useEffect, useRef, useState } from "react";
import type { Finding, Schemas } from "../api/client";
import { ErrorNote, Loading, Picture } from "../ui/states";
import { useGestures } from "./gestures";
import { heatQuery, pixelsQuery } from "./load";
import { Marks } from "./marks";
import { Renderer } from "./renderer";
import { Toolbar } from "./toolbar";
import { fit, nextMap, nextSplit, panned, type State, useKeys, useLook, windowed, zoomed } from "./use_look";

type Props = {
  image: Schemas["ImageView"];
  finding: Finding | undefined;
  onFinding?: (index: number) => void;
  name: string;
};

export function Viewer({ image, finding, onFinding, name }: Props) {
  const frame = useRef<HTMLElement>(null);
  const canvas = useRef<HTMLCanvasElement>(null);
  const [look, change] = useLook();
  const { data: pixels, error, refetch } = useQuery(pixelsQuery(image));
  const stuck = error !== null && image.links.image !== undefined;
  useEffect(() => {
    if (stuck) void refetch(); // the prepared image can stand in for an original that can't be decoded here
  }, [stuck, refetch]);
  const heat = useQuery({ ...heatQuery(image, finding?.finding ?? ""), enabled: finding !== undefined });
  const { renderer, broken } = useRenderer(canvas);
  const [size, setSize] = useState({ width: 0, height: 0 });
  const pane = { width: look.split === "side" ? size.width / 2 : size.width, height: size.height };

  useEffect(() => {
    if (!canvas.current) return;
    const observer = new ResizeObserver(([entry]) => entry && setSize(entry.contentRect));
    observer.observe(canvas.current);
    return () => observer.disconnect();
  }, []);
  useEffect(() => {
    if (!renderer || !pixels) return;
    renderer.setImage(pixels);
    change({ window: pixels.window, fitted: true });
  }, [renderer, pixels, change]);
  useEffect(() => {
    if (pixels && look.fitted && pane.width) change(fit(pixels, pane));
  }, [pixels, pane.width, pane.height, look.fitted, change]);
  useEffect(() => {
    if (heat.data) renderer?.setHeat(heat.data);
    else renderer?.clearHeat();
  }, [renderer, heat.data]);
  useEffect(() => {
    if (!renderer || !pixels) return;
    const id = requestAnimationFrame(() => renderer.draw(look));
    return () => cancelAnimationFrame(id);
  }, [renderer, pixels, look, size, heat.data]);

  useGestures(canvas, look, pixels, change);
  const act = useCallback(
    (key: string, event: KeyboardEvent) => {
      if (/^[1-5]$/.test(key)) onFinding?.(Number(key) - 1);
      else if (key.startsWith("Arrow") && event.target === canvas.current && pixels) {
        const [dx, dy] = ARROWS[key] ?? [0, 0];
        if (event.shiftKey) change((now) => windowed(now, pixels, dx / 50, -dy / 50));
        else change((now) => panned(now.view, -40 * dx, -40 * dy));
      } else if (key.toLowerCase() === "x") toggleFullScreen(frame.current);
      else {
        const by = BY_KEY[key.toLowerCase()];
        if (!by) return false;
        change(by);
        if (key.toLowerCase() === "r" && pixels)
          change({ window: pixels.window, invert: false, fitted: true });
      }
      return true;
    },
    [change, onFinding, pixels],
  );
  useKeys(act);

  const shown = look.heat && finding ? `, heatmap of ${finding.label} over it` : "";
  return (
    <section className="viewer" ref={frame} aria-label={`Image ${name}`}>
      <Toolbar
        {...{ look, change, pixels, finding }}
        onReset={() => pixels && change({ window: pixels.window, invert: false, fitted: true })}
        onFullScreen={() => toggleFullScreen(frame.current)}
      />
      <div className="stage">
        {broken ? (
          <Fallback image={image} finding={finding} look={look} name={name} />
        ) : (
          <canvas
            ref={canvas}
            tabIndex={0}
            role="img"
            aria-label={`X-ray ${name}${shown}. Arrow keys move it.`}
            data-tool={look.tool}
            data-ready={pixels && (!finding || heat.data) ? "" : undefined}
          />
        )}
        {look.split === "swipe" && <span className="swipe-line" style={{ left: `${look.swipe * 100}%` }} />}
        {pixels && !broken && <Marks {...{ look, pixels, image }} width={pane.width} />}
        {!pixels && !error && !broken && <Loading what="Loading the image…" />}
        {error && <ErrorNote error={error} />}
      </div>
    </section>
  );
}

const ARROWS: Record<string, [number, number]> = {
  ArrowLeft: [-1, 0],
  ArrowRight: [1, 0],
  ArrowUp: [0, -1],
  ArrowDown: [0, 1],
};

const BY_KEY: Record<string, (now: State) => Partial<State>> = {
  h: (now) => ({ heat: !now.heat }),
  c: (now) => ({ contour: !now.contour, heat: true }),
  m: (now) => ({ colorMap: nextMap(now.colorMap) }),
  s: (now) => ({ split: nextSplit(now.split), fitted: true }),
  i: (now) => ({ invert: !now.invert }),
  w: () => ({ tool: "window" }),
  p: () => ({ tool: "pan" }),
  f: () => ({ fitted: true }),
  r: () => ({ fitted: true }),
  "+": (now) => zoomed(now.view, 1.25),
  "=": (now) => zoomed(now.view, 1.25),
  "-": (now) => zoomed(now.view, 0.8),
  "]": (now) => ({ opacity: Math.min(now.opacity + 0.1, 1), heat: true }),
  "[": (now) => ({ opacity: Math.max(now.opacity - 0.1, 0), heat: true }),
};

function toggleFullScreen(element: HTMLElement | null): void {
  if (document.fullscreenElement) void document.exitFullscreen();
  else void element?.requestFullscreen?.();
}

function useRenderer(canvas: React.RefObject<HTMLCanvasElement | null>) {
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
function Fallback({ image, finding, look, name }: Props & { look: State }) {
  if (!image.links.image) return null;
  const heat = finding && look.heat ? image.links[`heatmap:${finding.finding}`] : undefined;
  return (
    <div className="pictures">
      <Picture src={image.links.image} alt={`X-ray ${name}`} />
      {heat && (
        <div style={{ opacity: look.opacity }}>
          <Picture src={`${heat}?colormap=${look.colorMap}`} alt={`Heatmap of ${finding?.label}`} />
        </div>
      )}
    </div>
  );
}
