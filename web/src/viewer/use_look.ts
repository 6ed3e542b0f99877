/** How the viewer shows an image: one state, what changes it, and the keys for that. */
import { useCallback, useEffect, useState } from "react";
import type { ColorMap } from "./colormaps";
import { COLOR_MAPS } from "./colormaps";
import type { Pixels } from "./pixels";
import type { Look, Split, View } from "./renderer";

export type Tool = "window" | "pan";
export type State = Look & { tool: Tool; fitted: boolean };
export type Change = Partial<State> | ((now: State) => Partial<State>);
export type Pane = { width: number; height: number };

const START: State = {
  view: { x: 0, y: 0, scale: 1 },
  window: { center: 127.5, width: 255 },
  invert: false,
  heat: true,
  opacity: 0.6,
  contour: false,
  colorMap: "inferno",
  split: "single",
  swipe: 0.5,
  tool: "window",
  fitted: true,
};

export function useLook() {
  const [look, setLook] = useState(START);
  const change = useCallback((by: Change) => {
    setLook((now) => ({ ...now, ...(typeof by === "function" ? by(now) : by) }));
  }, []);
  return [look, change] as const;
}

/** The whole image in the middle of the pane. */
export function fit(pixels: Pixels, pane: Pane): Partial<State> {
  const [{ width, height }] = pixels.levels as [Pixels["levels"][0]];
  const scale = Math.min(pane.width / width, pane.height / height);
  return { view: { x: width / 2, y: height / 2, scale }, fitted: true };
}

/** Zoom by `factor` so that the point `at` (CSS pixels from the pane's middle) stays where it is. */
export function zoomed(view: View, factor: number, at = { x: 0, y: 0 }): Partial<State> {
  const scale = Math.min(Math.max(view.scale * factor, 0.02), 40);
  const shift = 1 / view.scale - 1 / scale;
  return { view: { x: view.x + at.x * shift, y: view.y + at.y * shift, scale }, fitted: false };
}

export function panned(view: View, dx: number, dy: number): Partial<State> {
  return { view: { ...view, x: view.x - dx / view.scale, y: view.y - dy / view.scale }, fitted: false };
}

/** Window and level by a step in parts of the image's range. */
export function windowed(now: State, pixels: Pixels, wider: number, higher: number): Partial<State> {
  const range = pixels.range[1] - pixels.range[0];
  const width = Math.max(now.window.width + wider * range, range / 512);
  const center = now.window.center + higher * range;
  return { window: { width, center } };
}

export const nextMap = (map: ColorMap) =>
  COLOR_MAPS[(COLOR_MAPS.indexOf(map) + 1) % COLOR_MAPS.length] ?? map;
export const nextSplit = (split: Split): Split =>
  split === "single" ? "side" : split === "side" ? "swipe" : "single";

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

const SWITCH = "thorax.keys";
export const keysOn = () => localStorage.getItem(SWITCH) !== "off";
/** WCAG 2.1.4: single-letter keys can be turned off. */
export const setKeysOn = (on: boolean) => localStorage.setItem(SWITCH, on ? "on" : "off");

/** Call `act` for keys that are typed nowhere in particular; it tells whether it used the key. */
export function useKeys(act: (key: string, event: KeyboardEvent) => boolean) {
  useEffect(() => {
    const listen = (event: KeyboardEvent) => {
      if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented || !keysOn()) return;
      if ((event.target as HTMLElement).closest("input:not([type=radio]), textarea, select, [role=dialog]"))
        return;
      if (act(event.key, event)) event.preventDefault();
    };
    window.addEventListener("keydown", listen);
    return () => window.removeEventListener("keydown", listen);
  }, [act]);
}
