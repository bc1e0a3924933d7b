// What a timeline says in words: its status line, its tooltips, its keys.
import { duration, grouped } from "./axis";
import { hex } from "./hex";
import { lookOf } from "./palette";
import { MOST_LINKS } from "./timeline_draw";
import type { Cell, Picture, Row } from "./timeline_data";

export const KEYS = `+ and − zoom, ← and → pan, Home shows the whole trace, End follows its end
↑ and ↓ choose a lane, n and p go to its next and previous access, Enter chooses the access in all panels
Shift with ← and → brushes a stretch of time, Enter chooses its rows, Escape takes it back
t changes between time and row numbers, d describes the picture to a screen reader
With the pointer: drag pans, Shift and drag brushes rows, the wheel zooms once the panel was clicked (or with Ctrl)`;

const count = (number: number, what: string, many = "s") => `${grouped(`${number}`)} ${what}${number === 1 ? "" : many}`;

/** How rows are drawn, and what is not there: nothing is binned, cut or lost in silence. */
export function statusOf(picture: Picture, links: number): string[] {
  const told = [`${grouped(`${picture.shown}`)} of ${count(picture.total, "row")} in view`];
  if (picture.summed < picture.total) told.push(`still counting: ${grouped(`${picture.summed}`)} rows so far`);
  if (picture.binned) {
    const most = picture.cellList.reduce((sum, cell) => Math.max(sum, cell.count), 0);
    const bin = picture.by_row ? count(picture.width, "row") : duration(picture.width);
    told.push(`binned: a bar counts the rows of a kind in ${bin} (log height, up to ${grouped(`${most}`)}); zoom in for single rows`);
  }
  if (links > MOST_LINKS) told.push(`${grouped(`${links}`)} effects; arrows for up to ${MOST_LINKS}, and for the chosen row`);
  if (picture.pending) told.push(`${grouped(`${picture.pending}`)} pending`);
  const lost = picture.lost.reduce((sum, one) => sum + one.rows, 0);
  if (picture.lost.length) told.push(`${lost ? count(lost, "row") : "rows"} lost where it is hatched`);
  if (picture.more_lost) told.push(`${count(picture.more_lost, "more place")} with lost rows not drawn`);
  if (picture.more_running) told.push(`${count(picture.more_running, "more access", "es")} that ran in view not drawn`);
  if (picture.unsearched) {
    told.push(`effects of the chosen row searched in the 65,535 rows behind it, not in ${grouped(`${picture.unsearched}`)} later ones`);
  }
  if (picture.more_moments) told.push(`${count(picture.more_moments, "more mark")} not drawn`);
  if (picture.chosen) told.push(`${count(picture.chosen, "row")} chosen`);
  return told;
}

/** A row as far as its record tells; the kernel adds names. */
export function rowWords(row: Row): string {
  const value = row.size === 0 ? "" : row.size <= 8 ? `\n${hex(row.value, row.size)}` : `\n${count(row.size, "byte")}`;
  const took = row.pending ? "still being served" : duration(row.duration);
  return `row ${grouped(`${row.row}`)}  ${lookOf(row.kind).name}  ${hex(row.address)}${value}\n${took}`;
}

/** The bars of one bin in a lane. */
export function binWords(picture: Picture, cells: readonly Cell[]): string {
  const first = picture.bin_first! + cells[0]!.bin * picture.width;
  const where = picture.by_row
    ? `rows ${grouped(`${first}`)} to ${grouped(`${first + picture.width - 1}`)}`
    : `${duration(picture.width)} from ${duration(first)} on`;
  const kinds = cells.map((cell) => {
    const failed = cell.failed ? `, ${grouped(`${cell.failed}`)} failed` : "";
    return `${grouped(`${cell.count}`)} × ${lookOf(cell.kind).name}${failed}`;
  });
  return [`${picture.lanes[cells[0]!.lane]}, ${where}`, ...kinds].join("\n");
}
