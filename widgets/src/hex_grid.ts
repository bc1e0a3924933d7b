// Bytes in lines of sixteen: address, hexadecimal, letters. Used for config space and for guest memory.
import { element, type Frame } from "./panel";
import { roving } from "./roving";

export const LINE = 16;
/** Of a byte's flags, as the kernel sends them. */
export const CHANGED = 1;
export const SINCE_MARK = 2;
export const ABSENT = 0x80;

/** A byte as a letter, where it is one. */
export const letterOf = (byte: number): string => (byte >= 32 && byte < 127 ? String.fromCharCode(byte) : "·");

const pair = (byte: number) => byte.toString(16).padStart(2, "0");

export interface HexOptions {
  label: string;
  /** Hexadecimal digits of the address column. */
  digits: number;
  /** A byte was clicked; or Enter was pressed on it. */
  onChoose: (at: number, enter: boolean) => void;
  /** The cursor moved by a key. */
  onMove?: (at: number) => void;
  /** Somebody wants other lines: so many bytes further on. Without it the bytes are all there are. */
  onScroll?: (bytes: number) => void;
}

export class HexGrid {
  readonly root: HTMLElement;
  private bytes: HTMLElement[] = [];
  private letters: HTMLElement[] = [];
  private addresses: HTMLElement[] = [];
  private readonly refresh: () => void;
  private base = 0n;
  private told = new Map<number, string>();

  constructor(frame: Frame, private readonly options: HexOptions) {
    this.root = element("div", { class: "hdv-hex hdv-code", role: "grid", "aria-label": options.label });
    frame.on(this.root, "keydown", (event) => this.scrollByKey(event)); // before the arrows, which stop at the edge
    const moves = roving(this.root, {
      cells: () => this.rows(),
      onEnter: (cell) => options.onChoose(this.indexOf(cell), true),
      onMove: (cell) => options.onMove?.(this.indexOf(cell)),
    });
    this.refresh = moves.refresh;
    frame.on(this.root, "click", (event) => {
      const cell = (event.target as HTMLElement).closest<HTMLElement>("[data-at]");
      if (!cell) return;
      cell.focus();
      options.onChoose(this.indexOf(cell), false);
    });
  }

  private indexOf(cell: HTMLElement): number {
    return Number(cell.dataset.at);
  }

  private rows(): HTMLElement[][] {
    const rows: HTMLElement[][] = [];
    for (let at = 0; at < this.bytes.length; at += LINE) rows.push(this.bytes.slice(at, at + LINE));
    return rows;
  }

  private scrollByKey(event: KeyboardEvent): void {
    const { onScroll } = this.options;
    const cell = (event.target as HTMLElement).closest<HTMLElement>("[data-at]");
    if (!onScroll || !cell || event.ctrlKey || event.altKey || event.metaKey) return;
    const at = this.indexOf(cell);
    const steps: Record<string, number> = { PageUp: -this.bytes.length, PageDown: this.bytes.length };
    if (at < LINE) steps.ArrowUp = -LINE;
    if (at >= this.bytes.length - LINE) steps.ArrowDown = LINE;
    const step = steps[event.key];
    if (step === undefined) return;
    event.preventDefault();
    event.stopImmediatePropagation();
    onScroll(step);
  }

  /** Shows bytes; those that did not change are left alone. */
  show(base: bigint, data: DataView, flags: DataView): void {
    const count = data.byteLength;
    if (count !== this.bytes.length) this.build(count);
    if (base !== this.base || !this.addresses[0]?.textContent) {
      this.base = base;
      this.addresses.forEach((one, line) => (one.textContent = (base + BigInt(line * LINE)).toString(16).padStart(this.options.digits, "0")));
    }
    for (let line = 0; line < this.letters.length; line++) {
      let letters = "";
      for (let at = line * LINE; at < Math.min(count, (line + 1) * LINE); at++) {
        const byte = data.getUint8(at);
        const flag = flags.byteLength > at ? flags.getUint8(at) : 0;
        this.paint(at, byte, flag);
        letters += flag & ABSENT ? " " : letterOf(byte);
      }
      if (this.letters[line]!.textContent !== letters) this.letters[line]!.textContent = letters;
    }
  }

  private paint(at: number, byte: number, flag: number): void {
    const cell = this.bytes[at]!;
    const text = flag & ABSENT ? "--" : pair(byte);
    if (cell.textContent !== text) cell.textContent = text;
    const state = flag & ABSENT ? "absent" : flag & CHANGED ? "changed" : flag & SINCE_MARK ? "marked" : "";
    if (this.told.get(at) === state) return;
    this.told.set(at, state);
    cell.classList.toggle("hdv-absent", state === "absent");
    cell.classList.toggle("hdv-changed", state === "changed");
    cell.classList.toggle("hdv-marked", state === "marked");
    if (state) cell.setAttribute("aria-description", state === "marked" ? "differs from the mark" : state === "absent" ? "no RAM" : state);
    else cell.removeAttribute("aria-description");
  }

  private build(count: number): void {
    this.told.clear();
    [this.bytes, this.letters, this.addresses] = [[], [], []];
    const rows: HTMLElement[] = [];
    for (let start = 0; start < count; start += LINE) {
      const address = element("span", { class: "hdv-hex-at hdv-dim", role: "rowheader" });
      const letters = element("span", { class: "hdv-hex-text", "aria-hidden": "true" });
      const row = element("div", { class: "hdv-hex-row", role: "row" }, address);
      for (let at = start; at < Math.min(count, start + LINE); at++) {
        const cell = element("span", { class: "hdv-hex-byte", role: "gridcell", tabindex: -1, "data-at": at });
        this.bytes.push(cell);
        row.append(cell);
      }
      row.append(letters);
      this.addresses.push(address);
      this.letters.push(letters);
      rows.push(row);
    }
    this.root.replaceChildren(...rows);
    this.refresh();
  }

  /** Marks bytes `first` up to `last`, inclusive, as chosen; none where `last` is before `first`. */
  choose(first: number, last: number): void {
    this.bytes.forEach((cell, at) => {
      const is = at >= first && at <= last;
      cell.classList.toggle("hdv-chosen", is);
      if (is) cell.setAttribute("aria-selected", "true");
      else cell.removeAttribute("aria-selected");
    });
  }

  /** Gives each byte a class of its own, as an overlay has it; "" = none. */
  tint(classOf: (at: number) => string): void {
    this.bytes.forEach((cell, at) => {
      const tint = classOf(at);
      if (cell.dataset.tint === tint) return;
      if (cell.dataset.tint) cell.classList.remove(cell.dataset.tint);
      if (tint) cell.classList.add(tint);
      cell.dataset.tint = tint;
    });
  }

  /** Brings a byte into sight, and the focus to it where wanted. */
  reveal(at: number, focus = false): void {
    const cell = this.bytes[at];
    cell?.scrollIntoView?.({ block: "nearest" });
    if (focus) cell?.focus();
  }
}
