/** How the viewer shows an image: one state that fits any image, so that two can share it; what changes it; its keys. */
import { useCallback, useEffect, useState } from "react";
import { COLOR_MAPS, type ColorMap } from "./colormaps";
import type { Pixels } from "./pixels";
import type { Shown, Split } from "./renderer";

export type State = Omit<Shown, "view" | "window"> & {
  /** The image's point in the middle of the pane, in shares of the image; zoom 1 shows all of it. */
  view: { x: number; y: number; zoom: number };
  /** Changes to the file's own window: the level in its widths, the width by e to the power of `wider`. */
  window: { higher: number; wider: number };
  tool: "window" | "pan";
};
export type Change = Partial<State> | ((now: State) => Partial<State>);
export type Size = { width: number; height: number };

export const FITTED = { view: { x: 0.5, y: 0.5, zoom: 1 } };
export const PLAIN = { ...FITTED, window: { higher: 0, wider: 0 }, invert: false };
const START: State = {
  ...PLAIN,
  heat: true,
  opacity: 0.6,
  contour: false,
  colorMap: "inferno" as ColorMap,
  split: "single",
  swipe: 0.5,
  tool: "window",
};

export function useLook(start: Partial<State> = {}) {
  const [look, setLook] = useState<State>({ ...START, ...start });
  const change = useCallback((by: Change) => {
    setLook((now) => ({ ...now, ...(typeof by === "function" ? by(now) : by) }));
  }, []);
  return [look, change] as const;
}

/** The size of the whole image in the pane, in CSS pixels, at zoom 1. */
export function fitted({ levels }: Pixels, pane: Size): Size {
  const [{ width, height }] = levels as [Pixels["levels"][0]];
  const scale = Math.min(pane.width / width, pane.height / height);
  return { width: width * scale, height: height * scale };
}

/** The state, as the renderer needs it for one image. */
export function project(look: State, pixels: Pixels, pane: Size): Shown {
  const [{ width, height }] = pixels.levels as [Pixels["levels"][0]];
  const { view, window } = look;
  const scale = (fitted(pixels, pane).width / width) * view.zoom;
  const own = pixels.window;
  return {
    ...look,
    view: { x: view.x * width, y: view.y * height, scale },
    window: { center: own.center + window.higher * own.width, width: own.width * Math.exp(window.wider) },
  };
}

/** Zoom by `factor` so that the point `at` (CSS pixels from the pane's middle) of an image of `size` stays. */
export function zoomed({ view }: State, factor: number, at = { x: 0, y: 0 }, size?: Size): Partial<State> {
  const zoom = Math.min(Math.max(view.zoom * factor, 0.25), 60);
  const shift = 1 / view.zoom - 1 / zoom;
  const [x, y] = size ? [(at.x * shift) / size.width, (at.y * shift) / size.height] : [0, 0];
  return { view: { x: view.x + x, y: view.y + y, zoom } };
}

/** Move an image of `size` by CSS pixels. */
export function panned({ view }: State, dx: number, dy: number, size: Size): Partial<State> {
  const [x, y] = [dx / (size.width * view.zoom), dy / (size.height * view.zoom)];
  return { view: { ...view, x: view.x - x, y: view.y - y } };
}

/** Window and level by a step; the level goes slower the narrower the window is. */
export function windowed({ window }: State, wider: number, higher: number): Partial<State> {
  const width = Math.min(Math.max(window.wider + wider, -6), 3);
  return { window: { wider: width, higher: window.higher + higher * Math.exp(window.wider) } };
}

export const nextSplit = (split: Split): Split =>
  split === "single" ? "side" : split === "side" ? "swipe" : "single";
const nextMap = (map: ColorMap) => COLOR_MAPS[(COLOR_MAPS.indexOf(map) + 1) % COLOR_MAPS.length] ?? map;

export const KEYS: readonly (readonly [string, string])[] = [
  ["H", "heatmap on or off"],
  ["1 – 5", "heatmap of a finding"],
  ["[ ]", "opacity"],
  ["C", "contours or colours"],
  ["M", "next colour map"],
  ["S", "single, side by side, swipe"],
  ["W / P", "drag to window, drag to pan"],
  ["I", "invert"],
  ["+ −", "zoom"],
  ["F", "fit"],
  ["R", "reset"],
  ["Arrows", "pan (with Shift: window and level), when the image has the focus"],
  ["X", "full screen"],
];

const BY_KEY: Record<string, (now: State) => Partial<State>> = {
  h: (now) => ({ heat: !now.heat }),
  c: (now) => ({ contour: !now.contour, heat: true }),
  m: (now) => ({ colorMap: nextMap(now.colorMap) }),
  s: (now) => ({ split: nextSplit(now.split) }),
  i: (now) => ({ invert: !now.invert }),
  w: () => ({ tool: "window" }),
  p: () => ({ tool: "pan" }),
  f: () => FITTED,
  r: () => PLAIN,
  "+": (now) => zoomed(now, 1.25),
  "=": (now) => zoomed(now, 1.25),
  "-": (now) => zoomed(now, 0.8),
  "]": (now) => ({ opacity: Math.min(now.opacity + 0.1, 1), heat: true }),
  "[": (now) => ({ opacity: Math.max(now.opacity - 0.1, 0), heat: true }),
};

const SWITCH = "thorax.keys";
export const keysOn = () => localStorage.getItem(SWITCH) !== "off";
/** WCAG 2.1.4: single-letter keys can be turned off. */
export const setKeysOn = (on: boolean) => localStorage.setItem(SWITCH, on ? "on" : "off");

type Acts = {
  change: (by: Change) => void;
  onFinding?: (index: number) => void;
  onFullScreen: () => void;
};

/** The keys, where they are typed nowhere in particular. */
export function useKeys({ change, onFinding, onFullScreen }: Acts) {
  useEffect(() => {
    const listen = (event: KeyboardEvent) => {
      if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented || !keysOn()) return;
      const elsewhere = "input:not([type=radio]), textarea, select, [role=dialog], [role=menu]";
      if ((event.target as HTMLElement).closest(elsewhere)) return;
      const key = event.key.toLowerCase();
      const by = BY_KEY[key];
      if (by) change(by);
      else if (/^[1-5]$/.test(key) && onFinding) onFinding(Number(key) - 1);
      else if (key === "x") onFullScreen();
      else return;
      event.preventDefault();
    };
    window.addEventListener("keydown", listen);
    return () => window.removeEventListener("keydown", listen);
  }, [change, onFinding, onFullScreen]);
}

export function toggleFullScreen(element: HTMLElement | null): void {
  if (document.fullscreenElement) void document.exitFullscreen();
  else void element?.requestFullscreen?.();
}
