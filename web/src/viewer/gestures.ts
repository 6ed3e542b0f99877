/** Mouse, pen and fingers on the canvas: drag by tool, middle or two fingers pan, wheel and pinch zoom. */
import { type RefObject, useEffect, useRef } from "react";
import { type Change, type Point, panned, type Size, type ViewState, windowed, zoomed } from "./view_state";

const MIDDLE_BUTTON = 4;
const RIGHT_BUTTON = 2;

/** `size`: of the whole image at zoom 1, in CSS pixels; null while there is none. `onDraw` gets a line of the ruler. */
export function useGestures(
  canvas: RefObject<HTMLCanvasElement | null>,
  view: ViewState,
  size: Size | null,
  change: (by: Change) => void,
  onDraw: (from: Point, to: Point) => void,
) {
  const now = useRef({ view, size, onDraw });
  now.current = { view, size, onDraw };
  useEffect(() => {
    const element = canvas.current;
    if (!element) return;
    const fingers = new Map<number, Point>();
    let swiping = false;
    let begin = { x: 0, y: 0 };
    const within = ({ clientX, clientY }: PointerEvent) => {
      const box = element.getBoundingClientRect();
      const side = now.current.view.split === "side" ? box.width / 2 : box.width;
      return { x: (clientX - box.left) % side, y: clientY - box.top };
    };
    const pan = (dx: number, dy: number) => {
      const { size } = now.current;
      if (size) change((now) => panned(now, dx, dy, size));
    };
    const on = {
      pointerdown(event: PointerEvent) {
        fingers.set(event.pointerId, { x: event.clientX, y: event.clientY });
        element.setPointerCapture(event.pointerId);
        const { split, swipe } = now.current.view;
        const box = element.getBoundingClientRect();
        swiping = split === "swipe" && Math.abs(event.clientX - box.left - swipe * box.width) < 24;
        begin = within(event);
        if (event.button === 1) event.preventDefault();
      },
      pointermove(event: PointerEvent) {
        const last = fingers.get(event.pointerId);
        if (!last) return;
        const to = { x: event.clientX, y: event.clientY };
        const [dx, dy] = [to.x - last.x, to.y - last.y];
        const other = [...fingers].find(([id]) => id !== event.pointerId)?.[1];
        fingers.set(event.pointerId, to);
        const box = element.getBoundingClientRect();
        if (other) {
          const length = (a: Point) => Math.hypot(a.x - other.x, a.y - other.y);
          change((now) => zoomed(now, length(to) / Math.max(length(last), 1)));
          pan(dx / 2, dy / 2);
        } else if (swiping) change({ swipe: Math.min(Math.max((to.x - box.left) / box.width, 0), 1) });
        else if (event.buttons & RIGHT_BUTTON) change((now) => zoomed(now, Math.exp(-dy / 200)));
        else if (event.buttons & MIDDLE_BUTTON || ["pan", "ratio"].includes(now.current.view.tool))
          pan(dx, dy);
        else if (now.current.view.tool === "ruler") now.current.onDraw(begin, within(event));
        else change((now) => windowed(now, dx / 200, -dy / 600));
      },
      pointerup: (event: PointerEvent) => fingers.delete(event.pointerId),
      pointercancel: (event: PointerEvent) => fingers.delete(event.pointerId),
      wheel(event: WheelEvent) {
        event.preventDefault();
        const { view, size } = now.current;
        const box = element.getBoundingClientRect();
        const side = view.split === "side" ? box.width / 2 : box.width;
        const x = ((event.clientX - box.left) % side) - side / 2;
        const y = event.clientY - box.top - box.height / 2;
        if (size) change((now) => zoomed(now, Math.exp(-event.deltaY / 500), { x, y }, size));
      },
      contextmenu: (event: Event) => event.preventDefault(),
    };
    const bound = Object.entries(on) as [string, EventListener][];
    for (const [name, listener] of bound) element.addEventListener(name, listener, { passive: false });
    return () => {
      for (const [name, listener] of bound) element.removeEventListener(name, listener);
    };
  }, [canvas, change]);
}
