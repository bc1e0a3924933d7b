// The heat map: addresses over time, how often each was touched. hdvlab/widgets/heatmap.py counts.
import { duration, grouped } from "./axis";
import { AXIS_HEIGHT, readColors, sized, type Colors } from "./chart";
import { addressText, decode, type Box, type Header, type Heat, type Plan } from "./heatmap_data";
import { draw } from "./heatmap_draw";
import { operate } from "./heatmap_hands";
import { LookQueue } from "./look_queue";
import { heatColors, isDark, type HeatName } from "./palette";
import { definePanel, element, type Frame } from "./panel";
import { toolbar, type Toolbar } from "./toolbar";
import { panned, zoomed, type Stretch } from "./zoom";

const PLOT_HEIGHT = 320;
const KEYS = `+ and − zoom in time, ] and [ in addresses; ← → ↑ ↓ pan; Home shows everything, End follows the end of the trace
c starts a cursor on the cells: arrows move it, Enter chooses the cell's rows in all panels, Escape leaves it
r and w: count reads, count writes; d describes the picture to a screen reader
With the pointer: click chooses a cell's rows, drag pans, Shift and drag chooses a box; once the panel was clicked (or
with Ctrl) the wheel zooms in time, with Shift in addresses`;

/** One view of the panel. */
export class HeatView {
  heat: Heat | null = null;
  time: Stretch = { first: 0, stop: 1 };
  addresses: Stretch = { first: 0, stop: 1 };
  allAddresses = true;
  mode: Header["mode"] = "whole";
  reads = true;
  writes = true;
  cursor: Box | null = null;
  brush: Box | null = null;
  readonly chart = element("div", {
    class: "hdv-chart", tabindex: 0, role: "application", "aria-roledescription": "heat map", "data-testid": "chart",
    "aria-label": "Heat map. Press d for a description, h for the keys.",
  });
  readonly canvas = element("canvas", { "aria-hidden": "true" });
  readonly tip = element("div", { class: "hdv-tip", hidden: true, "data-testid": "tip" });
  private readonly place = element("select", { "aria-label": "Place" });
  private readonly status = element("p", { "data-testid": "status" });
  private readonly keys = element("pre", { class: "hdv-keys", hidden: true }, KEYS);
  private readonly tools: Toolbar;
  private readonly queue: LookQueue<Record<string, unknown>>;
  private colors: Colors | null = null;
  private ramp: Uint8Array | null = null;
  private map: HeatName = "cividis";
  private placesKey = "";
  private wantedPlace: number | null = null;
  private width = 0;

  constructor(readonly frame: Frame) {
    this.queue = new LookQueue((look, sequence) => frame.sync.send({ kind: "look", sequence, ...look }));
    this.tools = toolbar(frame, "Heat map tools", [
      { label: "Whole", title: "Show everything (Home)", act: () => this.whole(), pressed: () => this.mode === "whole" && this.allAddresses },
      { label: "Time −", title: "Zoom out in time (−)", act: () => this.zoomTime(2, 0.5) },
      { label: "Time +", title: "Zoom in in time (+)", act: () => this.zoomTime(0.5, 0.5) },
      { label: "Addr −", title: "Zoom out in addresses ([)", act: () => this.zoomAddresses(2, 0.5) },
      { label: "Addr +", title: "Zoom in in addresses (])", act: () => this.zoomAddresses(0.5, 0.5) },
      { label: "Follow", title: "Keep the end of the trace in view (End)", act: () => this.follow(), pressed: () => this.mode === "follow" },
      { label: "Reads", title: "Count reads (r)", act: () => this.toggle("reads"), pressed: () => this.reads },
      { label: "Writes", title: "Count writes (w)", act: () => this.toggle("writes"), pressed: () => this.writes },
      { label: "Viridis", title: "Colours of viridis in place of cividis", act: () => this.recolor(), pressed: () => this.map === "viridis" },
      { label: "Clear", title: "Choose no rows (Escape)", act: () => frame.sync.send({ kind: "clear" }) },
      { label: "Keys", title: "Show the keys (h)", act: () => this.showKeys(), pressed: () => !this.keys.hidden },
    ], this.place);
    frame.on(this.place, "change", () => {
      this.wantedPlace = this.place.selectedIndex;
      this.allAddresses = true;
      this.cursor = null;
      this.ask();
    });
    this.chart.append(this.canvas, this.tip);
    frame.root.append(this.tools.bar, this.chart, element("div", { class: "hdv-foot" }, this.status), this.keys);
    frame.sync.onData("picture", (header: Header, [data]) => this.take(decode(header, data)));
    frame.sync.onData("summary", ({ text }) => frame.announce(text));
    frame.onSize((width) => {
      if (Math.abs(width - this.width) < 1) return;
      this.width = width;
      this.ask();
    });
    frame.onTheme(() => (this.colors = this.ramp = null));
    frame.onEnd(() => this.queue.close());
    operate(this);
  }

  get extent(): Stretch {
    const [first, stop] = this.heat?.extent ?? [0, 1];
    return { first, stop };
  }

  get touched(): Stretch {
    const [first, stop] = this.heat?.touched ?? [0, 1];
    return { first, stop };
  }

  get plan(): Plan {
    const longest = (this.heat?.names ?? []).reduce((most, { name }) => Math.max(most, name.length), 10);
    const left = Math.min(longest, 20) * 7 + 20;
    return {
      left, top: 10, width: Math.max(this.width - left - 90, 10), height: PLOT_HEIGHT, time: this.time, addresses: this.addresses,
    };
  }

  whole(): void {
    this.mode = "whole";
    this.allAddresses = true;
    this.ask();
  }

  follow(): void {
    const { first, stop } = this.extent;
    const span = this.mode === "whole" ? (stop - first) / 4 : this.time.stop - this.time.first;
    this.mode = this.mode === "follow" ? "fixed" : "follow";
    if (this.mode === "follow") this.time = { first: Math.round(stop - span), stop };
    this.ask();
  }

  toggle(what: "reads" | "writes"): void {
    this[what] = !this[what];
    this.ask();
  }

  zoomTime(factor: number, anchor: number): void {
    const follows = this.mode === "follow";
    this.time = zoomed(this.time, factor, follows ? 1 : anchor, this.extent);
    if (!follows) this.mode = "fixed";
    this.ask();
  }

  zoomAddresses(factor: number, anchor: number): void {
    this.addresses = zoomed(this.addresses, factor, anchor, this.touched);
    this.allAddresses = false;
    this.ask();
  }

  pan(time: number, addresses: number, from: { time: Stretch; addresses: Stretch } = this): void {
    if (time) {
      this.time = panned(from.time, time, this.extent);
      this.mode = "fixed";
    }
    if (addresses && !(this.allAddresses && from === this)) {
      this.addresses = panned(from.addresses, addresses, this.touched);
      this.allAddresses = false;
    }
    this.ask();
  }

  choose(box: Box): void {
    this.frame.sync.send({
      kind: "choose", first: Math.floor(box.first), stop: Math.ceil(box.stop), low: Math.floor(box.low), high: Math.ceil(box.high),
    });
  }

  showKeys(): void {
    this.keys.hidden = !this.keys.hidden;
    this.tools.refresh();
  }

  private recolor(): void {
    this.map = this.map === "cividis" ? "viridis" : "cividis";
    this.ramp = null;
    this.frame.paint();
  }

  private ask(): void {
    this.tools.refresh();
    this.frame.paint();
    if (this.width === 0) return;
    const { first: low, stop: high } = this.allAddresses ? { first: 0, stop: 0 } : this.addresses;
    this.queue.ask({
      ...this.time, mode: this.mode, low, high, reads: this.reads, writes: this.writes,
      place: this.wantedPlace ?? this.heat?.place ?? null, bins: Math.round(this.plan.width / 2),
    });
  }

  private take(heat: Heat): void {
    if (!this.queue.accepts(heat.sequence)) return;
    this.heat = heat;
    this.wantedPlace = null;
    this.time = { first: heat.first, stop: heat.stop };
    this.addresses = { first: heat.low, stop: heat.high };
    ({ mode: this.mode, reads: this.reads, writes: this.writes } = heat);
    const key = heat.places.join("\n");
    if (key !== this.placesKey) {
      this.placesKey = key;
      this.place.replaceChildren(...heat.places.map((label) => element("option", {}, label)));
    }
    this.place.selectedIndex = heat.place;
    this.place.hidden = heat.places.length === 0;
    this.tools.refresh();
    this.frame.paint();
  }

  draw(): void {
    const { heat, frame } = this;
    if (!heat || this.width === 0) return;
    const colors = (this.colors ??= readColors(frame));
    const ramp = (this.ramp ??= heatColors(this.map, isDark(colors.back)));
    const plan = this.plan;
    const context = sized(this.canvas, this.width, plan.top + plan.height + AXIS_HEIGHT);
    draw(context, { heat, plan, colors, ramp, cursor: this.cursor, brush: this.brush });
    this.status.textContent = this.words(heat).join(" · ");
    Object.assign(this.chart.dataset, {
      first: heat.first, stop: heat.stop, low: heat.low, high: heat.high, most: heat.most, done: heat.done,
      chosen: heat.chosen, place: heat.places[heat.place] ?? "", latency: this.queue.latency.toFixed(1), waits: this.queue.waits,
    });
  }

  private words(heat: Heat): string[] {
    if (heat.place < 0) return ["No access to a BAR or to guest memory yet: it appears as the guest runs."];
    const cell = `${duration(heat.width)} by ${grouped(`${heat.step}`)} ${heat.step === 1 ? "byte" : "bytes"}`;
    const told = [`a cell counts the accesses in ${cell} (logarithmic colours, up to ${grouped(`${heat.most}`)})`];
    if (heat.done < 1) told.unshift(`counting: ${Math.floor(100 * heat.done)} %`);
    if (!heat.reads && !heat.writes) told.push("neither reads nor writes are counted");
    if (heat.chosen) told.push(`${grouped(`${heat.chosen}`)} rows chosen${heat.chosen > 1e6 ? "; too many to outline" : ""}`);
    return told;
  }

  /** Shows what a cell is; null hides it. */
  tell(cell: (Box & { count: number }) | null, x: number, y: number): void {
    this.tip.hidden = cell === null;
    if (!cell || !this.heat) return;
    const names = this.heat.names.filter((one) => one.low < cell.high && one.high > cell.low).map((one) => one.name);
    const some = names.length > 3 ? [...names.slice(0, 3), `… ${names.length} registers`] : names;
    const range = `${addressText(this.heat.base, cell.low)} … ${addressText(this.heat.base, cell.high - 1)}`;
    const what = this.reads && this.writes ? "access" : this.reads ? "read" : "write";
    const plural = cell.count === 1 ? what : what === "access" ? "accesses" : `${what}s`;
    this.tip.textContent = [
      `${grouped(`${cell.count}`)} ${plural}`, ...(some.length ? [some.join(" ")] : []), range,
      `${duration(cell.stop - cell.first)} from ${duration(cell.first)} on`,
    ].join("\n");
    this.tip.style.left = `${Math.max(4, Math.min(x + 14, this.width - this.tip.offsetWidth - 6))}px`;
    this.tip.style.top = `${Math.min(y + 14, this.chart.clientHeight - this.tip.offsetHeight - 4)}px`;
  }
}

const views = new WeakMap<Frame, HeatView>();

export default definePanel(
  { name: "heatmap", label: "Heat map", draw: (frame) => views.get(frame)?.draw() },
  (frame) => void views.set(frame, new HeatView(frame)),
);
