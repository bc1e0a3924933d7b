// What keys and pointer do in a heat map.
import type { HeatView } from "./heatmap";
import { cellAt, type Box, type Heat, type Plan } from "./heatmap_data";
import { fromPixel, toPixel, wheelFactor, type Stretch } from "./zoom";

const MOVED = 4; // px: less is a click

export function operate(view: HeatView): void {
  const { frame, chart } = view;
  frame.on(chart, "keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || !act(view, event)) return;
    event.preventDefault();
    event.stopPropagation();
  });
  frame.on(chart, "wheel", (event) => {
    // Only where the person means this panel: else the page would not scroll past it.
    if (chart.ownerDocument.activeElement !== chart && !event.ctrlKey && !event.metaKey) return;
    event.preventDefault();
    view.tell(null, 0, 0);
    const at = pointAt(view, event);
    const plan = view.plan;
    if (event.shiftKey) view.zoomAddresses(wheelFactor(event.deltaY || event.deltaX, event.deltaMode), (at.y - plan.top) / plan.height);
    else if (Math.abs(event.deltaX) > Math.abs(event.deltaY)) view.pan(event.deltaX / plan.width, 0);
    else view.zoomTime(wheelFactor(event.deltaY, event.deltaMode), (at.x - plan.left) / plan.width);
  }, { passive: false });
  point(view);
}

function pointAt(view: HeatView, event: MouseEvent): { x: number; y: number } {
  const box = view.canvas.getBoundingClientRect();
  return { x: event.clientX - box.left, y: event.clientY - box.top };
}

/** The stretch of time and addresses between two points, within the map. */
export function boxBetween(plan: Plan, x: number, y: number, toX: number, toY: number): Box {
  const within = (at: number, low: number, room: number) => Math.max(0, Math.min(at - low, room));
  const [left, right] = [x, toX].sort((a, b) => a - b) as [number, number];
  const [top, bottom] = [y, toY].sort((a, b) => a - b) as [number, number];
  return {
    first: fromPixel(within(left, plan.left, plan.width), plan.time, plan.width),
    stop: fromPixel(within(right, plan.left, plan.width), plan.time, plan.width),
    low: fromPixel(within(top, plan.top, plan.height), plan.addresses, plan.height),
    high: fromPixel(within(bottom, plan.top, plan.height), plan.addresses, plan.height),
  };
}

function point(view: HeatView): void {
  const { frame, chart } = view;
  type Start = { x: number; y: number; time: Stretch; addresses: Stretch; brushes: boolean; moved: boolean };
  let start: Start | null = null;
  frame.on(chart, "pointerdown", (event) => {
    if (event.button !== 0) return;
    start = { ...pointAt(view, event), time: view.time, addresses: view.addresses, brushes: event.shiftKey, moved: false };
    chart.setPointerCapture(event.pointerId);
    chart.focus({ preventScroll: true });
  });
  frame.on(chart, "pointermove", (event) => {
    const at = pointAt(view, event);
    if (!start) return view.tell(view.heat && cellAt(view.heat, view.plan, at.x, at.y), at.x, at.y);
    start.moved ||= Math.hypot(at.x - start.x, at.y - start.y) >= MOVED;
    if (!start.moved) return;
    view.tell(null, 0, 0);
    chart.classList.toggle("hdv-brushing", start.brushes);
    chart.classList.toggle("hdv-dragging", !start.brushes);
    const plan = view.plan;
    if (start.brushes) {
      view.brush = boxBetween(plan, start.x, start.y, at.x, at.y);
      frame.paint();
    } else {
      view.pan((start.x - at.x) / plan.width, view.allAddresses ? 0 : (start.y - at.y) / plan.height, start);
    }
  });
  const end = (event: PointerEvent) => {
    const began = start;
    const brush = view.brush;
    start = view.brush = null;
    chart.classList.remove("hdv-brushing", "hdv-dragging");
    frame.paint();
    if (!began || event.type === "pointercancel" || !view.heat) return;
    if (brush) return view.choose(brush);
    const cell = began.moved ? null : cellAt(view.heat, view.plan, began.x, began.y);
    if (cell) view.choose(cell);
  };
  frame.on(chart, "pointerup", end);
  frame.on(chart, "pointercancel", end);
  frame.on(chart, "pointerleave", () => view.tell(null, 0, 0));
}

const ARROWS: Record<string, [number, number]> = {
  ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1],
};

/** What a key does; false = nothing. */
function act(view: HeatView, event: KeyboardEvent): boolean {
  const arrow = ARROWS[event.key];
  if (arrow) {
    if (view.cursor && view.heat) moveCursor(view, view.heat, arrow);
    else view.pan(0.1 * arrow[0], 0.1 * arrow[1]);
    return true;
  }
  switch (event.key) {
    case "+": case "=": view.zoomTime(0.5, 0.5); break;
    case "-": case "_": view.zoomTime(2, 0.5); break;
    case "]": view.zoomAddresses(0.5, 0.5); break;
    case "[": view.zoomAddresses(2, 0.5); break;
    case "PageUp": view.pan(-0.9, 0); break;
    case "PageDown": view.pan(0.9, 0); break;
    case "Home": view.whole(); break;
    case "End": if (view.mode !== "follow") view.follow(); break;
    case "r": view.toggle("reads"); break;
    case "w": view.toggle("writes"); break;
    case "c": startCursor(view); break;
    case "Enter": case " ": if (view.cursor) view.choose(view.cursor); break;
    case "Escape":
      if (view.cursor) {
        view.cursor = null;
        view.tell(null, 0, 0);
      } else view.frame.sync.send({ kind: "clear" });
      break;
    case "d": view.frame.sync.send({ kind: "summary" }); break;
    case "h": case "?": view.showKeys(); break;
    default: return false;
  }
  view.frame.paint();
  return true;
}

function startCursor(view: HeatView): void {
  const plan = view.plan;
  if (!view.heat) return;
  const cell = cellAt(view.heat, plan, plan.left + plan.width / 2, plan.top + plan.height / 2);
  if (cell) setCursor(view, cell);
}

function setCursor(view: HeatView, cell: Box & { count: number }): void {
  const plan = view.plan;
  view.cursor = cell;
  view.tell(cell, plan.left + toPixel(cell.stop, plan.time, plan.width), plan.top + toPixel(cell.high, plan.addresses, plan.height));
  view.frame.announce(view.tip.textContent ?? "");
  view.frame.paint();
}

function moveCursor(view: HeatView, heat: Heat, [across, down]: [number, number]): void {
  const { first, stop, low, high } = view.cursor!;
  const plan = view.plan;
  const x = plan.left + toPixel((first + stop) / 2 + across * heat.width, plan.time, plan.width);
  const y = plan.top + toPixel((low + high) / 2 + down * heat.step, plan.addresses, plan.height);
  const cell = cellAt(heat, plan, x, y);
  if (cell) setCursor(view, cell);
}
