// The trace table: a window of rows on a trace of any length.
//
// To the kernel: hello, window {start, count, follow, ask}, filter {filter}, find {row}, select {mode, place}.
// From it: window {start, ask, total, rows, scanned, texts} + records, totals, filter, names, refused, found, selected.
import { definePanel, element, type Frame } from "./panel";
import { counted } from "./hex";
import { RECORD_SIZE } from "./records";
import { clamp, heightOf, isScaled, lastTop, reveal, scrollTopOf, topAt, type Extent } from "./scroll";
import { filterBar } from "./table_filters";
import { COLUMN_STYLE, COLUMNS, Pool, ROW_HEIGHT, type Window } from "./table_rows";

const PATIENCE_MS = 3000; // an answer that does not come by then is asked for anew: the kernel may have been restarted

export default definePanel({ name: "table", label: "Trace table", draw: (frame) => tables.get(frame)?.draw() }, (frame) => {
  tables.set(frame, new Table(frame));
});

class Table {
  private readonly head = element("div", { class: "hdv-head", role: "rowgroup" },
    element("div", { class: "hdv-row", role: "row", "aria-rowindex": 1 },
      ...COLUMNS.map(({ name, title }, index) =>
        element("div", { class: `hdv-cell hdv-col-${name}`, role: "columnheader", "aria-colindex": index + 1 }, title))));
  private readonly pool: Pool;
  private readonly extent = element("div", { class: "hdv-extent", role: "presentation" });
  private readonly grid: HTMLElement;
  private readonly status = element("div", { class: "hdv-foot hdv-dim", "data-testid": "hdv-table-status" });
  private readonly bar;

  private window: Window = { start: 0, count: 0, records: new DataView(new ArrayBuffer(0)), texts: [] };
  private total = 0;
  private rows = 0;
  private scanned = 0;
  private chosen = 0;
  private note = "";
  private top = 0;
  private active = -1;
  private follow = true;
  private viewport = 0;
  private put = 0; // where we put the scroll bar last: what is elsewhere was put there by a person
  private ask = 0;
  private asked: { start: number; count: number; follow: boolean; at: number } | null = null;
  private served = { follow: false, count: 0 };

  constructor(private readonly frame: Frame) {
    this.pool = new Pool(`hdv-row-${frame.view}`);
    this.grid = element("div", {
      class: "hdv-grid hdv-code", role: "grid", tabindex: 0, "aria-label": "Rows of the trace", "aria-colcount": COLUMNS.length,
      "aria-multiselectable": "true", style: COLUMN_STYLE,
    }, this.head, this.extent);
    this.extent.append(this.pool.layer);
    this.bar = filterBar(frame, {
      onFilter: (filter) => frame.sync.send({ kind: "filter", view: frame.view, filter }),
      onJump: (row) => this.find(row),
      onFollow: (on) => this.setFollow(on),
    });
    frame.root.append(this.bar.root, this.grid, this.status);

    const { sync } = frame;
    sync.onData("window", (content, [records]) => content.view === frame.view && this.arrived(content, records!));
    sync.onData("totals", (content) => content.view === frame.view && this.counts(content));
    sync.onData("found", (content) => (content.view === frame.view || !content.view) && this.found(content));
    sync.onData("selected", ({ count }) => {
      this.chosen = count;
      this.say();
    });
    frame.onShow(() => {
      this.asked = null;
      this.served.count = 0;
      sync.send({ kind: "hello", view: frame.view });
      this.request();
    });
    frame.onSize(() => {
      this.viewport = this.grid.clientHeight - this.head.offsetHeight;
      this.moveTo(this.follow ? Infinity : this.top);
    });
    frame.on(this.grid, "scroll", () => this.scrolled());
    frame.on(this.grid, "wheel", (event) => this.wheel(event), { passive: false });
    frame.on(this.grid, "keydown", (event) => this.key(event));
    frame.on(this.grid, "click", (event) => this.click(event));
  }

  draw(): void {
    this.extent.style.height = `${heightOf(this.size)}px`;
    this.pool.layer.style.height = `${Math.min(this.viewport, heightOf(this.size))}px`;
    const scrollTop = scrollTopOf(this.top, this.size);
    if (Math.abs(this.grid.scrollTop - scrollTop) >= 1) {
      this.grid.scrollTop = scrollTop;
      this.put = this.grid.scrollTop;
    }
    this.pool.paint(this.top, this.seen, this.total, this.window, this.active);
    this.grid.setAttribute("aria-rowcount", String(this.total + 1));
    this.grid.setAttribute("aria-activedescendant", this.pool.idOf(this.active));
  }

  private get size(): Extent {
    return { total: this.total, row: ROW_HEIGHT, viewport: this.viewport };
  }
  private get seen(): number {
    return this.viewport / ROW_HEIGHT;
  }

  // ---- where it is ----

  private moveTo(top: number): void {
    this.top = clamp(top, this.size);
    this.frame.paint();
    this.request();
  }

  private setFollow(on: boolean): void {
    this.follow = on;
    this.bar.follow(on);
    this.moveTo(on ? Infinity : this.top);
  }

  /** A person moved the rows: what comes then is not followed any more. */
  private go(top: number): void {
    if (this.follow && clamp(top, this.size) < lastTop(this.size)) {
      this.follow = false;
      this.bar.follow(false);
    }
    this.moveTo(top);
  }

  private scrolled(): void {
    if (Math.abs(this.grid.scrollTop - this.put) < 1) return;
    this.put = this.grid.scrollTop;
    this.go(topAt(this.grid.scrollTop, this.size));
  }

  private wheel(event: WheelEvent): void {
    if (event.ctrlKey || event.shiftKey || !event.deltaY || !isScaled(this.size)) return;
    const unit = event.deltaMode === 1 ? 1 : event.deltaMode === 2 ? this.seen : 1 / ROW_HEIGHT;
    const top = clamp(this.top + event.deltaY * unit, this.size);
    if (top === this.top) return; // at its end the notebook scrolls
    event.preventDefault();
    this.go(top);
  }

  private activate(place: number, mode: "only" | "range" | "toggle" | "" = ""): void {
    if (!this.total) return;
    this.active = Math.max(0, Math.min(place, this.total - 1));
    if (mode) this.frame.sync.send({ kind: "select", mode, place: this.active });
    this.go(reveal(this.active, this.top, this.size));
  }

  private key(event: KeyboardEvent): void {
    if (event.target !== this.grid || event.altKey || event.metaKey) return;
    const page = Math.max(1, Math.floor(this.seen) - 1);
    const from = this.active < 0 ? Math.floor(this.top) - 1 : this.active;
    const to: Record<string, number> = {
      ArrowDown: from + 1, ArrowUp: Math.max(0, from - 1), PageDown: from + page, PageUp: from - page, Home: 0, End: this.total - 1,
    };
    const place = to[event.key];
    if (place !== undefined) {
      this.activate(place, event.shiftKey ? "range" : "");
      if (event.key === "End" && !event.shiftKey) this.setFollow(true);
    } else if (event.key === "Enter") this.activate(this.active, "only");
    else if (event.key === " ") this.activate(this.active, "toggle");
    else if (event.key === "c") this.toCause(this.active);
    else return;
    event.preventDefault();
    event.stopPropagation();
  }

  private click(event: MouseEvent): void {
    const target = event.target as HTMLElement;
    const row = target.closest<HTMLElement>(".hdv-rows .hdv-row");
    if (!row) return;
    const place = Number(row.dataset["place"]);
    if (target.classList.contains("hdv-col-cause") && row.dataset["cause"]) return this.find(Number(row.dataset["cause"]));
    this.activate(place, event.shiftKey ? "range" : event.ctrlKey || event.metaKey ? "toggle" : "only");
  }

  private toCause(place: number): void {
    const shown = this.pool.layer.querySelector<HTMLElement>(`[data-place="${place}"]`);
    if (shown?.dataset["cause"]) this.find(Number(shown.dataset["cause"]));
  }

  private find(row: number): void {
    this.frame.sync.send({ kind: "find", view: this.frame.view, row });
  }

  private found({ asked, row, place }: { asked: number; row: number; place: number }): void {
    this.note = row === asked ? "" : row < 0 ? "there are no rows" : `row ${counted(asked)} is not shown; the next one is ${counted(row)}`;
    this.frame.announce(this.note || `row ${counted(row)}`);
    this.say();
    if (row < 0) return;
    this.total = Math.max(this.total, place + 1);
    this.active = place;
    this.follow = false;
    this.bar.follow(false);
    this.moveTo(reveal(place, this.top, this.size, true));
  }

  // ---- what it has ----

  /** Asks for the rows on screen and a screen above and below, unless they are here or on their way. */
  private request(): void {
    if (!this.frame.visible || this.viewport <= 0) return;
    const seen = Math.ceil(this.seen) + 1;
    const first = Math.floor(this.top);
    const { window } = this;
    const here = window.start <= first && window.start + window.count >= Math.min(first + seen, this.total);
    if (this.served.follow === this.follow && this.served.count >= seen && (this.follow || here)) return;
    if (this.asked && performance.now() - this.asked.at < PATIENCE_MS) return;
    const want = this.follow ? { start: 0, count: seen + 1 } : { start: Math.max(0, first - seen), count: 3 * seen };
    this.asked = { ...want, follow: this.follow, at: performance.now() };
    this.frame.sync.send({ kind: "window", view: this.frame.view, ask: ++this.ask, follow: this.follow, ...want });
  }

  private arrived(content: any, records: DataView): void {
    this.window = { start: content.start, count: records.byteLength / RECORD_SIZE, records, texts: content.texts };
    if (content.ask === this.ask && this.asked) {
      this.served = { follow: this.asked.follow, count: this.asked.count };
      this.asked = null;
    }
    this.counts(content);
    this.request(); // for what was wanted meanwhile
  }

  private counts({ total, rows, scanned }: { total: number; rows: number; scanned: number }): void {
    Object.assign(this, { total, rows, scanned });
    this.top = this.follow ? lastTop(this.size) : clamp(this.top, this.size);
    this.say();
    this.frame.paint();
  }

  private say(): void {
    const part = this.scanned < this.rows ? ` · ${Math.floor((100 * this.scanned) / this.rows)} % looked at` : "";
    const of = this.total === this.rows ? "" : ` of ${counted(this.rows)}`;
    const chosen = this.chosen ? ` · ${counted(this.chosen)} selected` : "";
    const note = this.note ? ` · ${this.note}` : "";
    this.status.textContent = `${counted(this.total)}${of} rows${part}${chosen}${note}`;
  }
}

const tables = new WeakMap<Frame, Table>();
