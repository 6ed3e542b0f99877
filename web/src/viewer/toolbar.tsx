/** The viewer's commands as buttons, the settings of the heatmap, the DICOM header, the list of keys. */
import { FileText, Keyboard, Maximize2 } from "lucide-react";
import { useState } from "react";
import { Switch } from "react-aria-components";
import { IconButton, ModalDialog, Range, SearchField, Select, Toggle } from "../ui/controls";
import { keysOn, setKeysOn } from "../ui/keys";
import { COLOR_MAPS, type ColorMap } from "./colormaps";
import { CONTOURS, type Command, HEATMAP, IMAGE_COMMANDS, SHORTCUTS, WINDOWS } from "./commands";
import type { Pixels } from "./pixels";
import { type Change, relative, sameWindow, type ViewState } from "./view_state";

type Props = {
  view: ViewState;
  change: (by: Change) => void;
  onFullScreen: () => void;
  pixels?: Pixels | undefined;
  /** Whether the image can have a heatmap. */
  heat: boolean;
};

export function Toolbar({ view, change, onFullScreen, pixels, heat }: Props) {
  const header = pixels?.header;
  return (
    <div className="toolbar">
      {heat && (
        <div className="tools heat-tools" role="group" aria-label="Heatmap">
          <CommandButton command={HEATMAP} {...{ view, change }} text />
          {view.heat && <HeatmapSettings {...{ view, change }} />}
        </div>
      )}
      {view.split === "swipe" && (
        <Range label="Swipe" value={view.swipe} onChange={(swipe) => change({ swipe })} />
      )}
      <div className="tools" role="group" aria-label="Image">
        {IMAGE_COMMANDS.map((command) => (
          <CommandButton key={command.key} {...{ command, view, change }} />
        ))}
        <WindowSelect {...{ view, change, pixels }} />
        <IconButton label="Full screen" keys="X" onPress={onFullScreen}>
          <Maximize2 />
        </IconButton>
        {header && header.length > 0 && (
          <ModalDialog
            drawer
            title="DICOM header"
            trigger={
              <IconButton label="DICOM header">
                <FileText />
              </IconButton>
            }
          >
            {() => <Header rows={header} />}
          </ModalDialog>
        )}
        <ModalDialog
          title="Keyboard shortcuts"
          trigger={
            <IconButton label="Keyboard shortcuts">
              <Keyboard />
            </IconButton>
          }
        >
          {() => <Shortcuts />}
        </ModalDialog>
      </div>
    </div>
  );
}

type CommandProps = Pick<Props, "view" | "change"> & { command: Command; text?: boolean };

function CommandButton({ command, view, change, text }: CommandProps) {
  const { key, label, Icon, isOn } = command;
  const act = () => change(command.change);
  if (!isOn)
    return (
      <IconButton label={label} keys={key} onPress={act}>
        <Icon />
      </IconButton>
    );
  return (
    <Toggle label={label} keys={key} text={text} isSelected={isOn(view)} onChange={act}>
      <Icon />
    </Toggle>
  );
}

/** Windows that are common for radiographs, and those that the file offers. */
function WindowSelect({ view, change, pixels }: Pick<Props, "view" | "change" | "pixels">) {
  const all = { ...WINDOWS };
  for (const one of pixels?.windows ?? []) all[one.name] = relative(one, pixels!.window);
  const now = Object.keys(all).find((name) => sameWindow(all[name]!, view.window)) ?? "";
  const names = Object.keys(all).map((name) => [name, name]);
  return (
    <Select
      label="Window"
      value={now}
      onChange={(name) => name && change({ window: all[name]! })}
      options={{ ...(!now && { "": "Own window" }), ...Object.fromEntries(names) }}
    />
  );
}

function HeatmapSettings({ view, change }: Pick<Props, "view" | "change">) {
  return (
    <>
      <Range label="Opacity" value={view.opacity} onChange={(opacity) => change({ opacity })} />
      <CommandButton command={CONTOURS} {...{ view, change }} />
      <Select
        label="Colour map"
        value={view.colorMap}
        onChange={(name) => change({ colorMap: name as ColorMap })}
        options={Object.fromEntries(COLOR_MAPS.map((name) => [name, name]))}
      />
    </>
  );
}

function Header({ rows }: { rows: Pixels["header"] }) {
  const [search, setSearch] = useState("");
  const found = rows.filter((row) =>
    Object.values(row).join(" ").toLowerCase().includes(search.toLowerCase()),
  );
  return (
    <>
      <SearchField label="Search the header" value={search} onChange={setSearch} />
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
        {SHORTCUTS.map(([key, what]) => (
          <div key={key}>
            <dt>
              <kbd>{key}</kbd>
            </dt>
            <dd>{what}</dd>
          </div>
        ))}
      </dl>
      <Switch isSelected={on} onChange={set} className="switch">
        <span className="switch-track" aria-hidden /> Use single-letter keys
      </Switch>
    </>
  );
}
