/** Single-letter keys. They can be turned off (WCAG 2.1.4) and never act while somebody types. */
import { useEffect } from "react";

const SWITCH = "thorax.keys";
export const keysOn = () => localStorage.getItem(SWITCH) !== "off";
export const setKeysOn = (on: boolean) => localStorage.setItem(SWITCH, on ? "on" : "off");

const ELSEWHERE = "input:not([type=radio]), textarea, select, [role=dialog], [role=menu]";

/** `act` gets each key in lower case and returns whether it used it. */
export function useKeys(act: (key: string) => boolean): void {
  useEffect(() => {
    const listen = (event: KeyboardEvent) => {
      if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented || !keysOn()) return;
      if (event.target instanceof Element && event.target.closest(ELSEWHERE)) return;
      if (act(event.key.toLowerCase())) event.preventDefault();
    };
    window.addEventListener("keydown", listen);
    return () => window.removeEventListener("keydown", listen);
  }, [act]);
}
