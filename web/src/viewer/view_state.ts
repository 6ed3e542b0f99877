/** How the viewer shows an image: one state that fits any image, so that two can share it, and what changes it. */
import { useCallback, useState } from "react";
import type { ColorMap } from "./colormaps";
import type { Pixels, Window } from "./pixels";
import type { Drawing } from "./renderer";

export type ViewState = Omit<Drawing, "view" | "window"> & {
  /** The image's point in the middle of the pane, in shares of the image; zoom 1 shows all of it. */
  view: { x: number; y: number; zoom: number };
  /** Changes to the file's own window: the level in its widths, the width by e to the power of `wider`. */
  window: { higher: number; wider: number };
  tool: "window" | "pan" | "ruler" | "ratio";
  /** Only the outline of the heatmap at the finding's cut, instead of its colours. */
  contour: boolean;
};
export type Change = Partial<ViewState> | ((now: ViewState) => Partial<ViewState>);
export type Size = { width: number; height: number };
export type Point = { x: number; y: number };
/** Where an image is in its pane: `size` as it would be at zoom 1, in CSS pixels. */
export type Place = { view: ViewState["view"]; pane: Size; size: Size };

export const FITTED = { view: { x: 0.5, y: 0.5, zoom: 1 } };
export const PLAIN = { ...FITTED, window: { higher: 0, wider: 0 }, invert: false };
const START: ViewState = {
  ...PLAIN,
  heat: false,
  opacity: 0.6,
  contour: false,
  colorMap: "inferno" as ColorMap,
  split: "single",
  swipe: 0.5,
  tool: "window",
};

export function useViewState(start: Partial<ViewState> = {}) {
  const [state, setState] = useState<ViewState>({ ...START, ...start });
  const change = useCallback((by: Change) => {
    setState((now) => ({ ...now, ...(typeof by === "function" ? by(now) : by) }));
  }, []);
  return [state, change] as const;
}

/** The size of the whole image in the pane, in CSS pixels, at zoom 1. */
export function fitted({ levels }: Pixels, pane: Size): Size {
  const [{ width, height }] = levels as [Pixels["levels"][0]];
  const scale = Math.min(pane.width / width, pane.height / height);
  return { width: width * scale, height: height * scale };
}

/** A point of the image, in shares of it, as CSS pixels of the pane. */
export const toPane = ({ x, y }: Point, { view, pane, size }: Place): Point => ({
  x: pane.width / 2 + (x - view.x) * size.width * view.zoom,
  y: pane.height / 2 + (y - view.y) * size.height * view.zoom,
});
/** The way back. */
export const toShare = ({ x, y }: Point, { view, pane, size }: Place): Point => ({
  x: view.x + (x - pane.width / 2) / (size.width * view.zoom),
  y: view.y + (y - pane.height / 2) / (size.height * view.zoom),
});

/** The state, as the renderer needs it for one image. */
export function project(state: ViewState, pixels: Pixels, pane: Size): Drawing {
  const [{ width, height }] = pixels.levels as [Pixels["levels"][0]];
  const { view, window } = state;
  const scale = (fitted(pixels, pane).width / width) * view.zoom;
  const own = pixels.window;
  return {
    ...state,
    view: { x: view.x * width, y: view.y * height, scale },
    window: { center: own.center + window.higher * own.width, width: own.width * Math.exp(window.wider) },
  };
}

/** Zoom by `factor` so that the point `at` (CSS pixels from the pane's middle) of an image of `size` stays. */
export function zoomed(
  { view }: ViewState,
  factor: number,
  at = { x: 0, y: 0 },
  size?: Size,
): Partial<ViewState> {
  const zoom = Math.min(Math.max(view.zoom * factor, 0.25), 60);
  const shift = 1 / view.zoom - 1 / zoom;
  const [x, y] = size ? [(at.x * shift) / size.width, (at.y * shift) / size.height] : [0, 0];
  return { view: { ...inSight(view.x + x, view.y + y), zoom } };
}

/** Move an image of `size` by CSS pixels. */
export function panned({ view }: ViewState, dx: number, dy: number, size: Size): Partial<ViewState> {
  const [x, y] = [dx / (size.width * view.zoom), dy / (size.height * view.zoom)];
  return { view: { ...view, ...inSight(view.x - x, view.y - y) } };
}

/** The middle of the pane stays on the image, so that it can't be lost. */
const inSight = (x: number, y: number): Point => ({ x: clamped(x), y: clamped(y) });
const clamped = (share: number) => Math.min(Math.max(share, 0), 1);

export const sameWindow = (a: ViewState["window"], b: ViewState["window"]) =>
  a.higher === b.higher && a.wider === b.wider;

/** One of the file's windows, as a change to its first. */
export const relative = (to: Window, own: Window): ViewState["window"] => ({
  higher: (to.center - own.center) / own.width,
  wider: Math.log(to.width / own.width),
});

/** Window and level by a step; the level changes more slowly the narrower the window is. */
export function windowed({ window }: ViewState, wider: number, higher: number): Partial<ViewState> {
  const width = Math.min(Math.max(window.wider + wider, -6), 3);
  return { window: { wider: width, higher: window.higher + higher * Math.exp(window.wider) } };
}

export function toggleFullScreen(element: HTMLElement | null): void {
  if (document.fullscreenElement) void document.exitFullscreen();
  else void element?.requestFullscreen?.();
}
