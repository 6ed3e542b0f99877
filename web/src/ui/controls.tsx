/** The page's small set of controls, React Aria's with our styles. */
import { X } from "lucide-react";
import { type ComponentProps, type ReactNode, useId } from "react";
import {
  Button as AriaButton,
  type ButtonProps,
  Dialog,
  DialogTrigger,
  Heading,
  Label,
  Modal,
  ModalOverlay,
  Slider,
  SliderOutput,
  SliderThumb,
  SliderTrack,
  ToggleButton,
  Tooltip,
  TooltipTrigger,
} from "react-aria-components";

type Kind = "primary" | "plain" | "quiet" | "danger";

type PlainProps = Omit<ButtonProps, "children"> & { kind?: Kind; children: ReactNode };

/** A button in words. While pending it keeps the focus and does nothing. */
export function Button({ kind = "plain", isPending, children, ...props }: PlainProps) {
  const idle = isPending ? { onPress: undefined, type: "button" as const, "data-pending": true } : {};
  return (
    <AriaButton {...props} {...idle} className={`button ${kind}`}>
      {isPending && <span className="spinner" aria-hidden />}
      {children}
    </AriaButton>
  );
}

type IconProps = { label: string; keys?: string; children: ReactNode };

function WithTooltip({ label, keys, children }: IconProps) {
  return (
    <TooltipTrigger delay={400}>
      {children}
      <Tooltip className="tooltip" offset={6}>
        {label} {keys && <kbd>{keys}</kbd>}
      </Tooltip>
    </TooltipTrigger>
  );
}

/** A button that shows an icon; its name is read aloud and shown as a tooltip. */
export function IconButton({ label, keys, children, ...props }: Omit<ButtonProps, "children"> & IconProps) {
  return (
    <WithTooltip label={label} keys={keys}>
      <AriaButton {...props} aria-label={label} className="icon-button">
        {children}
      </AriaButton>
    </WithTooltip>
  );
}

type ToggleProps = IconProps & { isSelected: boolean; onChange: (on: boolean) => void; text?: boolean };

/** The same that stays pressed. With `text` the name is written beside the icon. */
export function Toggle({ label, keys, text, children, ...props }: ToggleProps) {
  return (
    <WithTooltip label={label} keys={keys}>
      <ToggleButton {...props} aria-label={label} className={text ? "icon-button with-text" : "icon-button"}>
        {children}
        {text && <span>{label}</span>}
      </ToggleButton>
    </WithTooltip>
  );
}

type RangeProps = { label: string; value: number; onChange: (value: number) => void; isDisabled?: boolean };

/** A slider from 0 to 100 %. */
export function Range({ label, value, onChange, isDisabled }: RangeProps) {
  const set = (now: number | number[]) => onChange(Array.isArray(now) ? (now[0] ?? 0) : now);
  const format = { style: "percent" } as const;
  return (
    <Slider
      {...{ value, isDisabled }}
      onChange={set}
      minValue={0}
      maxValue={1}
      step={0.01}
      formatOptions={format}
      className="range"
    >
      <Label>{label}</Label>
      <SliderTrack className="range-track">
        <span className="range-fill" style={{ width: `${value * 100}%` }} />
        <SliderThumb className="range-thumb" />
      </SliderTrack>
      <SliderOutput />
    </Slider>
  );
}

type FieldProps = Omit<ComponentProps<"input">, "onChange"> & {
  label: string;
  help?: string | undefined;
  onChange?: (value: string) => void;
};

/**
 * A labelled line of text. The browser itself asks for what is required; what the server refuses is shown beside the
 * form and never as the field's own validity, since a browser does not send a form with an invalid field.
 */
export function Field({ label, help, onChange, ...props }: FieldProps) {
  const id = useId();
  return (
    <div className="field">
      <label htmlFor={id}>{label}</label>
      <input
        {...props}
        id={id}
        aria-describedby={help && `${id}-help`}
        onChange={(event) => onChange?.(event.target.value)}
      />
      {help && <small id={`${id}-help`}>{help}</small>}
    </div>
  );
}

type FormProps = { onSubmit: (data: FormData) => void; inline?: boolean; children: ReactNode };

/** A form that the page sends itself. */
export function Form({ onSubmit, inline, children }: FormProps) {
  return (
    <form
      className={inline ? "form inline" : "form"}
      onSubmit={(event) => {
        event.preventDefault();
        onSubmit(new FormData(event.currentTarget));
      }}
    >
      {children}
    </form>
  );
}

type SearchProps = { label: string; value: string; onChange: (value: string) => void };

export function SearchField({ label, value, onChange }: SearchProps) {
  return (
    <input
      type="search"
      aria-label={label}
      placeholder={label}
      value={value}
      onChange={(event) => onChange(event.target.value)}
    />
  );
}

type SelectProps = {
  label: string;
  value: string;
  onChange: (value: string) => void;
  options: Record<string, string>;
};

/** A choice of few: the browser's own, which suits phones best. */
export function Select({ label, value, onChange, options }: SelectProps) {
  return (
    <select aria-label={label} value={value} onChange={(event) => onChange(event.target.value)}>
      {Object.entries(options).map(([name, word]) => (
        <option key={name} value={name}>
          {word}
        </option>
      ))}
    </select>
  );
}

type DialogProps = {
  trigger: ReactNode;
  title: string;
  drawer?: boolean;
  children: (close: () => void) => ReactNode;
};

/** A modal dialog, or a drawer at the side, opened by its trigger. */
export function ModalDialog({ trigger, title, drawer, children }: DialogProps) {
  return (
    <DialogTrigger>
      {trigger}
      <ModalOverlay className={drawer ? "overlay side" : "overlay"} isDismissable>
        <Modal className={drawer ? "drawer" : "modal"}>
          <Dialog>
            {({ close }) => (
              <>
                <header className="dialog-head">
                  <Heading slot="title">{title}</Heading>
                  <IconButton label="Close" onPress={close}>
                    <X />
                  </IconButton>
                </header>
                {children(close)}
              </>
            )}
          </Dialog>
        </Modal>
      </ModalOverlay>
    </DialogTrigger>
  );
}

type ConfirmProps = {
  trigger: ReactNode;
  title: string;
  children: ReactNode;
  act: string;
  onConfirm: () => void;
};

/** Asks before what can't be undone. */
export function Confirm({ trigger, title, children, act, onConfirm }: ConfirmProps) {
  return (
    <ModalDialog trigger={trigger} title={title}>
      {(close) => (
        <>
          <p>{children}</p>
          <div className="row end">
            <Button onPress={close} autoFocus>
              Keep
            </Button>
            <Button
              kind="danger"
              onPress={() => {
                onConfirm();
                close();
              }}
            >
              {act}
            </Button>
          </div>
        </>
      )}
    </ModalDialog>
  );
}
