// The rows on screen: a pool of elements over the window that the kernel sent last.
import { element } from "./panel";
import { counted } from "./hex";
import { glyphOf, groupOf } from "./kinds";
import { durationOf, placeOf, readRow, timeOf, valueOf, type Row } from "./records";

export const ROW_HEIGHT = 22; // px, as in table.css

export interface Column {
  name: string;
  title: string;
  /** px, and how much of the px that are left. */
  width: number;
  share?: number;
}

export const COLUMNS: Column[] = [
  { name: "row", title: "row", width: 92 },
  { name: "time", title: "time in s", width: 150 },
  { name: "kind", title: "kind", width: 170 },
  { name: "device", title: "device", width: 90 },
  { name: "register", title: "register", width: 130 },
  { name: "place", title: "address", width: 170 },
  { name: "size", title: "size", width: 54 },
  { name: "value", title: "value", width: 164 },
  { name: "fields", title: "fields, text", width: 180, share: 2 },
  { name: "duration", title: "took", width: 80 },
  { name: "status", title: "status", width: 120 },
  { name: "cause", title: "cause", width: 92 },
  { name: "source", title: "source", width: 160, share: 1 },
];

/** The style that gives every row the same columns. */
export const COLUMN_STYLE =
  `--hdv-columns: ${COLUMNS.map(({ width, share }) => (share ? `minmax(${width}px, ${share}fr)` : `${width}px`)).join(" ")};` +
  ` --hdv-width: ${COLUMNS.reduce((sum, { width }) => sum + width, 0)}px`;

/** What the kernel sent: `count` rows from the place `start` of those that the filter leaves. */
export interface Window {
  start: number;
  count: number;
  records: DataView;
  texts: string[];
}

export function cellsOf(row: Row): string[] {
  const who = row.origin === "guest" || (row.origin === "device" && /^(dma|interrupt)/.test(row.kind)) ? "" : ` (${row.origin})`;
  return [
    counted(row.row),
    timeOf(row.time),
    row.kind.replaceAll("_", " ") + who,
    row.device,
    row.register,
    placeOf(row),
    row.size ? String(row.size) : "",
    valueOf(row),
    row.fields,
    row.pending ? "…" : row.duration ? durationOf(row.duration) : "",
    row.status,
    row.cause >= 0 ? counted(row.cause) : "",
    row.source,
  ];
}

export class Pool {
  readonly layer = element("div", { class: "hdv-rows", role: "rowgroup" });
  private readonly rows: HTMLElement[] = [];

  constructor(private readonly id: string) {}

  /** Shows the rows from `top` on; what the window does not have yet is empty. */
  paint(top: number, seen: number, total: number, window: Window, active: number): void {
    const first = Math.floor(top);
    const shown = Math.min(Math.ceil(seen) + 1, total - first);
    while (this.rows.length < shown) this.rows.push(this.add(this.rows.length));
    this.rows.forEach((row, index) => {
      const place = first + index;
      row.hidden = index >= shown;
      if (row.hidden) return;
      row.style.transform = `translateY(${Math.round((place - top) * ROW_HEIGHT)}px)`;
      row.setAttribute("aria-rowindex", String(place + 2)); // the header is row 1
      row.dataset["place"] = String(place);
      row.classList.toggle("hdv-active", place === active);
      const at = place - window.start;
      this.fill(row, at >= 0 && at < window.count ? readRow(window.records, at, window.texts) : null);
    });
  }

  /** The id of the element that shows a place, for aria-activedescendant. */
  idOf(place: number): string {
    return this.rows.find((row) => !row.hidden && row.dataset["place"] === String(place))?.id ?? "";
  }

  private add(index: number): HTMLElement {
    const cells = COLUMNS.map(({ name }, column) =>
      element("div", { class: `hdv-cell hdv-col-${name}`, role: "gridcell", "aria-colindex": column + 1 }),
    );
    const row = element("div", { class: "hdv-row", role: "row", id: `${this.id}-${index}` }, ...cells);
    this.layer.append(row);
    return row;
  }

  private fill(element: HTMLElement, row: Row | null): void {
    const texts = row ? cellsOf(row) : [];
    const glyph = row ? glyphOf(row.kind) : "";
    element.classList.toggle("hdv-chosen", !!row?.selected);
    element.classList.toggle("hdv-waits", !!row?.pending);
    element.classList.toggle("hdv-failed", !!row?.failed);
    element.setAttribute("aria-selected", String(!!row?.selected));
    element.dataset["group"] = row ? groupOf(row.kind) : "";
    element.dataset["row"] = row ? String(row.row) : "";
    element.dataset["cause"] = row && row.cause >= 0 ? String(row.cause) : "";
    for (let index = 0; index < COLUMNS.length; index++) {
      const cell = element.children[index] as HTMLElement;
      const text = texts[index] ?? "";
      const shown = index === 2 && row ? `${row.pending ? "⧗" : glyph} ${text}` : text;
      if (cell.textContent !== shown) {
        cell.textContent = shown;
        cell.title = text.length > 14 ? text : "";
      }
    }
  }
}
