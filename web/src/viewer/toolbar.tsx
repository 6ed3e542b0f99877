/** The viewer's tools, as buttons; each has a key too. */
import {
  Columns2,
  Contrast,
  FileText,
  Keyboard,
  Maximize2,
  Move,
  RotateCcw,
  Scan,
  SlidersHorizontal,
  Spline,
  ThermometerSun,
  ZoomIn,
  ZoomOut,
} from "lucide-react";
import { useState } from "react";
import { Switch } from "react-aria-components";
import { IconButton, Range, Select, Toggle, Window } from "../ui/controls";
import { COLOR_MAPS, type ColorMap } from "./colormaps";
import type { Pixels } from "./pixels";
import {
  type Change,
  FITTED,
  KEYS,
  keysOn,
  nextSplit,
  PLAIN,
  type State,
  setKeysOn,
  zoomed,
} from "./use_look";

type Props = {
  look: State;
  change: (by: Change) => void;
  onFullScreen: () => void;
  header?: Pixels["header"] | undefined;
  /** Whether there is a heatmap to set. */
  heat: boolean;
};

const SPLITS = { single: "Single view", side: "Side by side", swipe: "Swipe" } as const;

export function Toolbar({ look, change, onFullScreen, header, heat }: Props) {
  return (
    <div className="toolbar">
      <div className="tools" role="group" aria-label="Image">
        <Toggle
          label="Window and level"
          keys="W"
          isSelected={look.tool === "window"}
          onChange={() => change({ tool: "window" })}
        >
          <SlidersHorizontal />
        </Toggle>
        <Toggle
          label="Pan"
          keys="P"
          isSelected={look.tool === "pan"}
          onChange={() => change({ tool: "pan" })}
        >
          <Move />
        </Toggle>
        <IconButton label="Zoom in" keys="+" onPress={() => change((now) => zoomed(now, 1.25))}>
          <ZoomIn />
        </IconButton>
        <IconButton label="Zoom out" keys="−" onPress={() => change((now) => zoomed(now, 0.8))}>
          <ZoomOut />
        </IconButton>
        <IconButton label="Fit" keys="F" onPress={() => change(FITTED)}>
          <Scan />
        </IconButton>
        <Toggle label="Invert" keys="I" isSelected={look.invert} onChange={(invert) => change({ invert })}>
          <Contrast />
        </Toggle>
        <IconButton label="Reset" keys="R" onPress={() => change(PLAIN)}>
          <RotateCcw />
        </IconButton>
        <Toggle
          label={SPLITS[look.split]}
          keys="S"
          isSelected={look.split !== "single"}
          onChange={() => change((now) => ({ split: nextSplit(now.split) }))}
        >
          <Columns2 />
        </Toggle>
        <IconButton label="Full screen" keys="X" onPress={onFullScreen}>
          <Maximize2 />
        </IconButton>
        {header && header.length > 0 && (
          <Window
            drawer
            title="DICOM header"
            trigger={
              <IconButton label="DICOM header">
                <FileText />
              </IconButton>
            }
          >
            {() => <Header rows={header} />}
          </Window>
        )}
        <Window
          title="Keyboard"
          trigger={
            <IconButton label="Keyboard shortcuts">
              <Keyboard />
            </IconButton>
          }
        >
          {() => <Shortcuts />}
        </Window>
      </div>
      {heat && (
        <div className="tools heat-tools" role="group" aria-label="Heatmap">
          <Toggle label="Heatmap" keys="H" text isSelected={look.heat} onChange={(heat) => change({ heat })}>
            <ThermometerSun />
          </Toggle>
          <Range
            label="Opacity"
            value={look.opacity}
            onChange={(opacity) => change({ opacity })}
            isDisabled={!look.heat}
          />
          <Toggle
            label="Contours"
            keys="C"
            isSelected={look.contour}
            onChange={(contour) => change({ contour, heat: true })}
          >
            <Spline />
          </Toggle>
          <Select
            label="Colour map"
            value={look.colorMap}
            onChange={(name) => change({ colorMap: name as ColorMap })}
            options={Object.fromEntries(COLOR_MAPS.map((name) => [name, name]))}
          />
        </div>
      )}
      {look.split === "swipe" && (
        <Range label="Swipe" value={look.swipe} onChange={(swipe) => change({ swipe })} />
      )}
    </div>
  );
}

function Header({ rows }: { rows: Pixels["header"] }) {
  const [sought, setSought] = useState("");
  const found = rows.filter((row) =>
    Object.values(row).join(" ").toLowerCase().includes(sought.toLowerCase()),
  );
  return (
    <>
      <input
        type="search"
        aria-label="Search the header"
        placeholder="Search"
        value={sought}
        onChange={(event) => setSought(event.target.value)}
      />
      <section className="header-table" tabIndex={0} aria-label="Attributes">
        <table>
          <thead>
            <tr>
              <th>Tag</th>
              <th>Attribute</th>
              <th>Value</th>
            </tr>
          </thead>
          <tbody>
            {found.map((row) => (
              <tr key={row.tag}>
                <td>
                  <code>{row.tag}</code>
                </td>
                <td>{row.name || <i>unnamed</i>}</td>
                <td>{row.value}</td>
              </tr>
            ))}
          </tbody>
        </table>
      </section>
    </>
  );
}

function Shortcuts() {
  const [on, setOn] = useState(keysOn());
  const set = (now: boolean) => {
    setKeysOn(now);
    setOn(now);
  };
  return (
    <>
      <dl className="keys">
        {KEYS.map(([key, what]) => (
          <div key={key}>
            <dt>
              <kbd>{key}</kbd>
            </dt>
            <dd>{what}</dd>
          </div>
        ))}
      </dl>
      <Switch isSelected={on} onChange={set} className="switch">
        <span className="switch-track" aria-hidden /> Single-letter keys work
      </Switch>
    </>
  );
}
