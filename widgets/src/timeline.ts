// The timeline: lanes of accesses over time, zoomed, panned, brushed. hdvlab/widgets/timeline.py counts and decodes.
import { AXIS_HEIGHT, sized, type Colors } from "./chart";
import { LookQueue } from "./look_queue";
import { mark } from "./markers";
import { DARK, isDark, LIGHT, lookOf, type Look } from "./palette";
import { definePanel, element, type Frame } from "./panel";
import { decode, neighbour, rowPlace, type Header, type Picture, type Plan, type Row } from "./timeline_data";
import { countLinks, draw, type Brush } from "./timeline_draw";
import { operate } from "./timeline_hands";
import { KEYS, statusOf } from "./timeline_words";
import { toolbar, type Toolbar } from "./toolbar";
import { panned, zoomed, type Stretch } from "./zoom";

type Mode = Header["mode"];

/** One view of the panel: what it shows, and what its tools and hands may do with it. */
export class TimelineView {
  picture: Picture | null = null;
  stretch: Stretch = { first: 0, stop: 1 };
  mode: Mode = "whole";
  byRow = false;
  brushes = false;
  lane = 0;
  focused: number | null = null;
  brush: Brush | null = null;
  words: string[] = [];
  readonly chart = element("div", {
    class: "hdv-chart", tabindex: 0, role: "application", "aria-roledescription": "timeline", "data-testid": "chart",
    "aria-label": "Timeline. Press d for a description, h for the keys.",
  });
  readonly canvas = element("canvas", { "aria-hidden": "true" });
  readonly tip = element("div", { class: "hdv-tip", hidden: true, "data-testid": "tip" });
  private readonly status = element("p", { "data-testid": "status" });
  private readonly legend = element("div", { class: "hdv-legend" });
  private readonly keys = element("pre", { class: "hdv-keys", hidden: true }, KEYS);
  private readonly tools: Toolbar;
  private readonly queue: LookQueue<Record<string, unknown>>;
  private colors: Colors | null = null;
  private legendKey = "";
  private width = 0;

  constructor(readonly frame: Frame) {
    this.queue = new LookQueue((look, sequence) => frame.sync.send({ kind: "look", sequence, ...look }));
    this.tools = toolbar(frame, "Timeline tools", [
      { label: "Whole", title: "Show the whole trace (Home)", act: () => this.whole(), pressed: () => this.mode === "whole" },
      { label: "−", title: "Zoom out (−)", act: () => this.zoom(2, 0.5) },
      { label: "+", title: "Zoom in (+)", act: () => this.zoom(0.5, 0.5) },
      { label: "Follow", title: "Keep the end of the trace in view (End)", act: () => this.follow(), pressed: () => this.mode === "follow" },
      { label: "By row", title: "Row numbers in place of time (t)", act: () => this.turn(), pressed: () => this.byRow },
      { label: "Brush", title: "Drag chooses rows in place of panning", act: () => void (this.brushes = !this.brushes), pressed: () => this.brushes },
      { label: "Clear", title: "Choose no rows (Escape)", act: () => this.choose(null) },
      { label: "Keys", title: "Show the keys (h)", act: () => this.showKeys(), pressed: () => !this.keys.hidden },
    ]);
    this.chart.append(this.canvas, this.tip);
    frame.root.append(this.tools.bar, this.chart, element("div", { class: "hdv-foot" }, this.legend, this.status), this.keys);
    frame.sync.onData("picture", (header: Header, [data]) => data && this.take(decode(header, data)));
    frame.sync.onData("described", ({ row, lines }) => {
      if (row !== this.focused) return;
      this.words = lines;
      this.frame.paint();
    });
    frame.sync.onData("summary", ({ text }) => frame.announce(text));
    frame.onSize((width) => {
      if (Math.abs(width - this.width) < 1) return;
      this.width = width;
      this.ask();
    });
    frame.onTheme(() => {
      this.colors = null;
      this.legendKey = "";
    });
    frame.onEnd(() => this.queue.close());
    operate(this);
  }

  get extent(): Stretch {
    const [first, stop] = this.picture?.extent ?? [0, 1];
    return { first, stop };
  }

  get plan(): Plan {
    const lanes = Math.max(this.picture?.lanes.length ?? 0, 1);
    const longest = (this.picture?.lanes ?? []).reduce((most, label) => Math.max(most, label.length), 0);
    const left = Math.min(Math.max(longest * 7 + 24, 70), Math.max(this.width * 0.25, 70));
    const laneHeight = lanes > 12 ? 28 : 36;
    return {
      left, top: 18, width: Math.max(this.width - left - 14, 10), laneHeight, lanes, stretch: this.stretch, byRow: this.byRow,
    };
  }

  whole(): void {
    this.mode = "whole";
    this.stretch = this.extent;
    this.ask();
  }

  follow(): void {
    if (this.mode === "follow") this.mode = "fixed";
    else {
      const { first, stop } = this.extent;
      const span = this.mode === "whole" ? (stop - first) / 4 : this.stretch.stop - this.stretch.first;
      this.mode = "follow";
      this.stretch = { first: Math.round(stop - span), stop };
    }
    this.ask();
  }

  turn(): void {
    this.byRow = !this.byRow;
    this.brush = null;
    this.mode = "whole";
    this.stretch = { first: 0, stop: 1 }; // replaced by the answer: what was in ns means nothing in rows
    this.picture = this.picture && { ...this.picture, cellList: [], rowList: [], shareList: [], moments: [], lost: [] };
    this.ask();
  }

  zoom(factor: number, anchor: number): void {
    const follows = this.mode === "follow";
    this.show(zoomed(this.stretch, factor, follows ? 1 : anchor, this.extent), follows ? "follow" : "fixed");
  }

  pan(share: number): void {
    this.show(panned(this.stretch, share, this.extent), "fixed");
  }

  show(stretch: Stretch, mode: Mode): void {
    this.stretch = stretch;
    this.mode = mode;
    this.ask();
  }

  choose(row: number | null): void {
    this.brush = null;
    this.frame.sync.send({ kind: "choose", row });
    this.frame.paint();
  }

  chooseBrushed(): void {
    const brush = this.brush;
    this.brush = null;
    if (!brush || brush.from === brush.to) return;
    const lanes = brush.lanes && Array.from({ length: brush.lanes[1] - brush.lanes[0] + 1 }, (_, n) => brush.lanes![0] + n);
    this.frame.sync.send({
      kind: "brush", by_row: this.byRow, lanes,
      first: Math.floor(Math.min(brush.from, brush.to)), stop: Math.ceil(Math.max(brush.from, brush.to)),
    });
    this.frame.paint();
  }

  focus(row: Row | null): void {
    if ((row?.row ?? null) === this.focused) return;
    this.focused = row?.row ?? null;
    this.words = [];
    if (row) {
      this.lane = row.lane;
      this.frame.sync.send({ kind: "describe", row: row.row });
    }
    this.frame.paint();
  }

  step(step: 1 | -1): void {
    const row = this.picture && neighbour(this.picture.rowList, this.focused, this.lane, step);
    if (row) this.focus(row);
    else if (this.picture?.binned) this.frame.announce("Single rows are not shown at this zoom; press + to zoom in.");
  }

  showKeys(): void {
    this.keys.hidden = !this.keys.hidden;
    this.tools.refresh();
  }

  private ask(): void {
    this.tools.refresh();
    this.frame.paint();
    if (this.width === 0) return;
    const bins = Math.round(this.plan.width / 1.5);
    this.queue.ask({ ...this.stretch, by_row: this.byRow, mode: this.mode, bins });
  }

  private take(picture: Picture): void {
    if (!this.queue.accepts(picture.sequence)) return;
    this.picture = picture;
    this.stretch = { first: picture.first, stop: picture.stop };
    this.mode = picture.mode;
    this.byRow = picture.by_row;
    this.tools.refresh();
    this.frame.paint();
  }

  draw(): void {
    const { picture, frame, chart } = this;
    if (!picture || this.width === 0) return;
    const plan = this.plan;
    const colors = (this.colors ??= readColors(frame));
    const palette = isDark(colors.back) ? DARK : LIGHT;
    const context = sized(this.canvas, this.width, plan.top + plan.lanes * plan.laneHeight + AXIS_HEIGHT);
    const hasFocus = chart.ownerDocument.activeElement === chart;
    draw(context, { picture, plan, colors, palette, lane: this.lane, focused: this.focused, hasFocus, brush: this.brush });
    const links = countLinks(picture);
    this.status.textContent = picture.total ? statusOf(picture, links).join(" · ") : "No rows yet: they appear as the guest runs.";
    this.drawLegend(links > 0);
    this.placeTip();
    // What is on screen, for tests and for those who look for a reason.
    Object.assign(chart.dataset, {
      first: picture.first, stop: picture.stop, binned: picture.binned, rows: picture.shown, total: picture.total,
      links, chosen: picture.chosen, latency: this.queue.latency.toFixed(1), waits: this.queue.waits,
    });
  }

  private drawLegend(linked: boolean): void {
    const picture = this.picture!;
    const looks = new Map<string, Look>();
    for (const { kind } of [...picture.cellList, ...picture.rowList]) looks.set(lookOf(kind).name, lookOf(kind));
    const entries: [string, (context: CanvasRenderingContext2D) => void][] = [];
    const palette = isDark(this.colors!.back) ? DARK : LIGHT;
    for (const name of [...looks.keys()].sort()) {
      const look = looks.get(name)!;
      entries.push([name, (context) => mark(context, look.marker, 7, 7, 4, palette[look.hue].fill, palette[look.hue].line, 0.8)]);
    }
    if (picture.rowList.some((row) => row.failed) || picture.cellList.some((cell) => cell.failed)) {
      entries.push(["failed", (context) => mark(context, "X", 7, 7, 5, palette.failure.fill, this.colors!.back, 0.8)]);
    }
    if (picture.pending && !picture.by_row) {
      entries.push(["pending", (context) => mark(context, "o", 7, 7, 4, this.colors!.back, palette.read.line, 1.6)]);
    }
    const key = `${entries.map(([name]) => name).join()} ${linked}`;
    if (key === this.legendKey) return;
    this.legendKey = key;
    this.legend.replaceChildren(...entries.map(([name, paint]) => {
      const canvas = element("canvas", { "aria-hidden": "true" });
      paint(sized(canvas, 14, 14));
      return element("span", {}, canvas, name);
    }), ...(linked ? [element("span", {}, "→ caused")] : []));
  }

  private placeTip(): void {
    const row = this.picture?.rowList.find((one) => one.row === this.focused);
    if (!row || row.lane < 0) {
      if (!this.tip.dataset.bin) this.tip.hidden = true;
      return;
    }
    const place = rowPlace(row, this.plan);
    this.tell(this.words, place.x, place.y);
  }

  /** Shows the tooltip at a point of the chart; no lines hide it. */
  tell(lines: readonly string[], x: number, y: number): void {
    this.tip.hidden = lines.length === 0;
    if (this.tip.hidden) return;
    this.tip.textContent = lines.join("\n");
    const { offsetWidth: wide, offsetHeight: tall } = this.tip;
    const room = this.chart.clientHeight + this.chart.scrollTop;
    this.tip.style.left = `${Math.max(4, Math.min(x + 12, this.width - wide - 6))}px`;
    this.tip.style.top = `${y + 14 + tall > room && y - tall - 12 > 0 ? y - tall - 12 : y + 14}px`;
  }
}

function readColors(frame: Frame): Colors {
  const color = (name: string) => frame.color(`--hdv-${name}`);
  return {
    text: color("text"), dim: color("dim"), back: color("back"), raised: color("raised"), line: color("line"),
    focus: color("focus"), chosen: color("chosen"), font: getComputedStyle(frame.root).fontFamily || "sans-serif",
  };
}

let views: WeakMap<Frame, TimelineView> | undefined;

export default definePanel(
  { name: "timeline", label: "Timeline", draw: (frame) => views?.get(frame)?.draw() },
  (frame) => {
    (views ??= new WeakMap()).set(frame, new TimelineView(frame));
  },
);
