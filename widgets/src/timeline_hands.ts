// What keys and pointer do in a timeline.
import type { TimelineView } from "./timeline";
import { cellsAt, laneAt, rowAt } from "./timeline_data";
import { binWords, rowWords } from "./timeline_words";
import { fromPixel, panned, wheelFactor, type Stretch } from "./zoom";

const MOVED = 4; // px: less is a click

export function operate(view: TimelineView): void {
  const { frame, chart } = view;
  frame.on(chart, "keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || !act(view, event)) return;
    event.preventDefault();
    event.stopPropagation();
  });
  frame.on(chart, "focus", () => frame.paint());
  frame.on(chart, "blur", () => frame.paint());
  frame.on(chart, "wheel", (event) => {
    // Only where the person means this panel: else the page would not scroll past it.
    if (chart.ownerDocument.activeElement !== chart && !event.ctrlKey && !event.metaKey) return;
    event.preventDefault();
    const plan = view.plan;
    if (event.shiftKey || Math.abs(event.deltaX) > Math.abs(event.deltaY)) {
      view.pan((event.deltaX || event.deltaY) / plan.width);
    } else {
      view.zoom(wheelFactor(event.deltaY, event.deltaMode), (pointAt(view, event).x - plan.left) / plan.width);
    }
  }, { passive: false });
  point(view);
}

function pointAt(view: TimelineView, event: MouseEvent): { x: number; y: number } {
  const box = view.canvas.getBoundingClientRect();
  return { x: event.clientX - box.left, y: event.clientY - box.top };
}

function point(view: TimelineView): void {
  const { frame, chart } = view;
  let start: { x: number; y: number; stretch: Stretch; brushes: boolean; moved: boolean } | null = null;

  frame.on(chart, "pointerdown", (event) => {
    if (event.button !== 0) return;
    start = { ...pointAt(view, event), stretch: view.stretch, brushes: event.shiftKey || view.brushes, moved: false };
    chart.setPointerCapture(event.pointerId);
    chart.focus({ preventScroll: true });
  });
  frame.on(chart, "pointermove", (event) => {
    const at = pointAt(view, event);
    if (!start) return hover(view, at);
    start.moved ||= Math.hypot(at.x - start.x, at.y - start.y) >= MOVED;
    if (!start.moved) return;
    const plan = view.plan;
    chart.classList.toggle("hdv-brushing", start.brushes);
    chart.classList.toggle("hdv-dragging", !start.brushes);
    if (start.brushes) {
      const pixel = (x: number) => fromPixel(Math.max(0, Math.min(x - plan.left, plan.width)), plan.stretch, plan.width);
      const lanes = [laneAt(plan, start.y), laneAt(plan, at.y)].sort((a, b) => a - b) as [number, number];
      // Over more than one lane, or within one: only these lanes. From or to outside of them: all.
      view.brush = { from: pixel(start.x), to: pixel(at.x), lanes: lanes[0] < 0 ? null : lanes };
      frame.paint();
    } else {
      view.show(panned(start.stretch, (start.x - at.x) / plan.width, view.extent), "fixed");
    }
  });
  const end = (event: PointerEvent) => {
    const began = start;
    start = null;
    chart.classList.remove("hdv-brushing", "hdv-dragging");
    if (!began || event.type === "pointercancel") {
      view.brush = null;
      return frame.paint();
    }
    if (began.brushes && began.moved) return view.chooseBrushed();
    if (!began.moved) {
      const row = view.picture && rowAt(view.picture.rowList, view.plan, began.x, began.y);
      const lane = laneAt(view.plan, began.y);
      if (lane >= 0) view.lane = lane;
      if (row) view.choose(row.row);
      frame.paint();
    }
  };
  frame.on(chart, "pointerup", end);
  frame.on(chart, "pointercancel", end);
  frame.on(chart, "pointerleave", () => !start && hover(view, null));
  frame.on(chart, "dblclick", (event) => view.zoom(0.25, (pointAt(view, event).x - view.plan.left) / view.plan.width));
}

function hover(view: TimelineView, at: { x: number; y: number } | null): void {
  const picture = view.picture;
  const row = at && picture ? rowAt(picture.rowList, view.plan, at.x, at.y) : null;
  delete view.tip.dataset.bin;
  if (row) {
    const isNew = row.row !== view.focused;
    const lane = view.lane;
    view.focus(row);
    view.lane = lane; // pointing is not choosing a lane
    if (isNew) view.words = rowWords(row).split("\n");
    return;
  }
  if (at) view.focus(null);
  const lane = at ? laneAt(view.plan, at.y) : -1;
  const cells = at && picture && lane >= 0 && at.x >= view.plan.left ? cellsAt(picture, view.plan, at.x, lane) : [];
  if (cells.length && picture && at) {
    view.tip.dataset.bin = "true";
    view.tell(binWords(picture, cells).split("\n"), at.x, at.y);
  } else if (view.focused === null) {
    view.tell([], 0, 0);
  }
}

/** What a key does; false = nothing. */
function act(view: TimelineView, event: KeyboardEvent): boolean {
  const lanes = Math.max(view.picture?.lanes.length ?? 1, 1);
  switch (event.key) {
    case "+": case "=": view.zoom(0.5, 0.5); break;
    case "-": case "_": view.zoom(2, 0.5); break;
    case "ArrowLeft": case "ArrowRight": {
      const way = event.key === "ArrowLeft" ? -1 : 1;
      if (event.shiftKey) extend(view, way);
      else view.pan(0.1 * way);
      break;
    }
    case "PageUp": view.pan(-0.9); break;
    case "PageDown": view.pan(0.9); break;
    case "ArrowUp": view.lane = Math.max(view.lane - 1, 0); say(view); break;
    case "ArrowDown": view.lane = Math.min(view.lane + 1, lanes - 1); say(view); break;
    case "Home": view.whole(); break;
    case "End": if (view.mode !== "follow") view.follow(); break;
    case "n": view.step(1); break;
    case "p": view.step(-1); break;
    case "Enter": case " ":
      if (view.brush) view.chooseBrushed();
      else if (view.focused !== null) view.choose(view.focused);
      break;
    case "Escape":
      if (view.brush) view.brush = null;
      else if (view.focused !== null) view.focus(null);
      else view.choose(null);
      break;
    case "t": view.turn(); break;
    case "d": view.frame.sync.send({ kind: "summary" }); break;
    case "h": case "?": view.showKeys(); break;
    default: return false;
  }
  view.frame.paint();
  return true;
}

/** Makes the brush longer by a fiftieth of the view; it begins at the focused access, else in the middle. */
function extend(view: TimelineView, way: number): void {
  const { first, stop } = view.stretch;
  const row = view.picture?.rowList.find((one) => one.row === view.focused);
  const from = row ? (view.byRow ? row.row : row.t) : (first + stop) / 2;
  view.brush ??= { from, to: from, lanes: null };
  view.brush.to = Math.max(first, Math.min(stop, view.brush.to + (way * (stop - first)) / 50));
}

function say(view: TimelineView): void {
  view.focus(null);
  const label = view.picture?.lanes[view.lane];
  if (label) view.frame.announce(`lane ${label}`);
}
