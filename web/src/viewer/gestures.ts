/** Mouse, pen and fingers on the canvas: drag by tool, middle or two fingers pan, wheel and pinch zoom. */
import { type RefObject, useEffect, useRef } from "react";
import type { Pixels } from "./pixels";
import { type Change, panned, type State, windowed, zoomed } from "./use_look";

type Point = { x: number; y: number };

export function useGestures(
  canvas: RefObject<HTMLCanvasElement | null>,
  look: State,
  pixels: Pixels | undefined,
  change: (by: Change) => void,
) {
  const now = useRef({ look, pixels });
  now.current = { look, pixels };
  useEffect(() => {
    const element = canvas.current;
    if (!element) return;
    const fingers = new Map<number, Point>();
    let swiping = false;

    const down = (event: PointerEvent) => {
      fingers.set(event.pointerId, { x: event.clientX, y: event.clientY });
      element.setPointerCapture(event.pointerId);
      const { split, swipe } = now.current.look;
      const box = element.getBoundingClientRect();
      swiping = split === "swipe" && Math.abs(event.clientX - box.left - swipe * box.width) < 24;
      if (event.button === 1) event.preventDefault();
    };
    const move = (event: PointerEvent) => {
      const last = fingers.get(event.pointerId);
      if (!last) return;
      const to = { x: event.clientX, y: event.clientY };
      const [dx, dy] = [to.x - last.x, to.y - last.y];
      const other = [...fingers].find(([id]) => id !== event.pointerId)?.[1];
      fingers.set(event.pointerId, to);
      if (other) return pinch(last, to, other);
      const box = element.getBoundingClientRect();
      const { tool } = now.current.look;
      if (swiping) change({ swipe: Math.min(Math.max((to.x - box.left) / box.width, 0), 1) });
      else if (event.buttons & 2) change((now) => zoomed(now.view, Math.exp(-dy / 200)));
      else if (event.buttons & 4 || tool === "pan") change((now) => panned(now.view, dx, dy));
      else change((now) => (shown() ? windowed(now, shown()!, dx / 600, -dy / 600) : {}));
    };
    const shown = () => now.current.pixels;
    const pinch = (from: Point, to: Point, other: Point) => {
      const length = (a: Point) => Math.hypot(a.x - other.x, a.y - other.y);
      change((now) => zoomed(now.view, length(to) / Math.max(length(from), 1)));
      change((now) => panned(now.view, (to.x - from.x) / 2, (to.y - from.y) / 2));
    };
    const up = (event: PointerEvent) => fingers.delete(event.pointerId);
    const wheel = (event: WheelEvent) => {
      event.preventDefault();
      const box = element.getBoundingClientRect();
      const side = now.current.look.split === "side" ? box.width / 2 : box.width;
      const at = {
        x: ((event.clientX - box.left) % side) - side / 2,
        y: event.clientY - box.top - box.height / 2,
      };
      change((now) => zoomed(now.view, Math.exp(-event.deltaY / 500), at));
    };
    const menu = (event: Event) => event.preventDefault();
    element.addEventListener("pointerdown", down);
    element.addEventListener("pointermove", move);
    element.addEventListener("pointerup", up);
    element.addEventListener("pointercancel", up);
    element.addEventListener("wheel", wheel, { passive: false });
    element.addEventListener("contextmenu", menu);
    return () => {
      element.removeEventListener("pointerdown", down);
      element.removeEventListener("pointermove", move);
      element.removeEventListener("pointerup", up);
      element.removeEventListener("pointercancel", up);
      element.removeEventListener("wheel", wheel);
      element.removeEventListener("contextmenu", menu);
    };
  }, [canvas, change]);
}
