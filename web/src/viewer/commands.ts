/** What the viewer can be told by a button or a key, once for both. */
import {
  Columns2,
  Contrast,
  HeartPulse,
  type LucideIcon,
  Move,
  RotateCcw,
  Ruler,
  Scan,
  SlidersHorizontal,
  Spline,
  ThermometerSun,
  ZoomIn,
  ZoomOut,
} from "lucide-react";
import { useCallback } from "react";
import { useKeys } from "../ui/keys";
import { COLOR_MAPS } from "./colormaps";
import type { Split } from "./renderer";
import { type Change, FITTED, PLAIN, sameWindow, type ViewState, zoomed } from "./view_state";

/** `isOn` makes its button one that stays pressed. */
export type Command = {
  key: string;
  label: string;
  change: Change;
  Icon: LucideIcon;
  isOn?: (view: ViewState) => boolean;
};

const NEXT_SPLIT: Record<Split, Split> = { single: "side", side: "swipe", swipe: "single" };

export const IMAGE_COMMANDS: Command[] = [
  {
    key: "W",
    label: "Window and level",
    change: { tool: "window" },
    Icon: SlidersHorizontal,
    isOn: ({ tool }) => tool === "window",
  },
  { key: "P", label: "Pan", change: { tool: "pan" }, Icon: Move, isOn: ({ tool }) => tool === "pan" },
  {
    key: "L",
    label: "Ruler",
    change: { tool: "ruler" },
    Icon: Ruler,
    isOn: ({ tool }) => tool === "ruler",
  },
  {
    key: "T",
    label: "Cardiothoracic ratio",
    change: { tool: "ratio" },
    Icon: HeartPulse,
    isOn: ({ tool }) => tool === "ratio",
  },
  { key: "+", label: "Zoom in", change: (now) => zoomed(now, 1.25), Icon: ZoomIn },
  { key: "-", label: "Zoom out", change: (now) => zoomed(now, 0.8), Icon: ZoomOut },
  { key: "F", label: "Fit", change: FITTED, Icon: Scan },
  {
    key: "I",
    label: "Invert",
    change: ({ invert }) => ({ invert: !invert }),
    Icon: Contrast,
    isOn: ({ invert }) => invert,
  },
  { key: "R", label: "Reset", change: PLAIN, Icon: RotateCcw },
  {
    key: "S",
    label: "Single, side by side, swipe",
    change: ({ split }) => ({ split: NEXT_SPLIT[split] }),
    Icon: Columns2,
    isOn: ({ split }) => split !== "single",
  },
];

export const HEATMAP: Command = {
  key: "H",
  label: "Heatmap",
  change: ({ heat }) => ({ heat: !heat }),
  Icon: ThermometerSun,
  isOn: ({ heat }) => heat,
};
export const CONTOURS: Command = {
  key: "C",
  label: "Contour",
  change: ({ contour }) => ({ contour: !contour, heat: true }),
  Icon: Spline,
  isOn: ({ contour }) => contour,
};

/** What radiographs are commonly looked at with, from the window that the file or its grey values give. */
export const WINDOWS: Record<string, ViewState["window"]> = {
  "As sent": PLAIN.window,
  Lungs: { higher: -0.15, wider: -0.6 },
  "Bone, mediastinum": { higher: 0.2, wider: -0.6 },
  Flat: { higher: 0, wider: 0.4 },
};

const opaque = (by: number) => (now: ViewState) => ({
  opacity: Math.min(Math.max(now.opacity + by, 0), 1),
  heat: true,
});

/** Commands without a button. */
const KEYS_ONLY: Record<string, Change> = {
  "=": (now) => zoomed(now, 1.25),
  "[": opaque(-0.1),
  "]": opaque(0.1),
  v: ({ window }) => {
    const all = Object.values(WINDOWS);
    return { window: all[(all.findIndex((one) => sameWindow(one, window)) + 1) % all.length]! };
  },
  m: ({ colorMap }) => ({ colorMap: COLOR_MAPS[(COLOR_MAPS.indexOf(colorMap) + 1) % COLOR_MAPS.length]! }),
};

const COMMANDS = [HEATMAP, CONTOURS, ...IMAGE_COMMANDS];
const BY_KEY: Record<string, Change> = {
  ...KEYS_ONLY,
  ...Object.fromEntries(COMMANDS.map(({ key, change }) => [key.toLowerCase(), change])),
};

/** All keys and what they do, for the reader. */
export const SHORTCUTS: [string, string][] = [
  ...COMMANDS.map(({ key, label }): [string, string] => [key, label]),
  ["[ ]", "Opacity of the heatmap"],
  ["V", "Next window"],
  ["M", "Next colour map"],
  ["1 – 5", "Choose a finding"],
  ["X", "Full screen"],
  ["J / K", "Next and previous study"],
  ["Arrows", "Pan; with Shift, window and level (when the image has the focus)"],
];

type Actions = {
  change: (by: Change) => void;
  onFinding: (index: number) => void;
  onFullScreen: () => void;
};

export function useViewerKeys({ change, onFinding, onFullScreen }: Actions): void {
  useKeys(
    useCallback(
      (key) => {
        const command = BY_KEY[key];
        if (command) change(command);
        else if (/^[1-5]$/.test(key)) onFinding(Number(key) - 1);
        else if (key === "x") onFullScreen();
        else return false;
        return true;
      },
      [change, onFinding, onFullScreen],
    ),
  );
}
