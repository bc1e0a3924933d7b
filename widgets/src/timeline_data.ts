// What the kernel sends a timeline: plain facts and one buffer of records (hdvlab/widgets/timeline_picture.py).
import { toPixel, type Stretch } from "./zoom";
import { lookOf } from "./palette";

export interface Moment {
  x: number;
  row: number;
  label: string;
  mark: boolean;
}

export interface Lost {
  first: number;
  stop: number;
  rows: number;
}

export interface Header {
  sequence: number;
  first: number;
  stop: number;
  extent: [number, number];
  origin: string;
  by_row: boolean;
  mode: "whole" | "fixed" | "follow";
  lanes: string[];
  total: number;
  summed: number;
  binned: boolean;
  shown: number;
  pending: number;
  chosen: number;
  width: number;
  bins?: number;
  bin_first?: number;
  moments: Moment[];
  more_moments: number;
  lost: Lost[];
  /** What there is more of than is drawn; of rows, those behind the chosen one that its effects were not searched in. */
  more_lost?: number;
  more_running?: number;
  unsearched?: number;
  cells: number;
  shares: number;
  rows: number;
}

export interface Cell {
  lane: number;
  kind: number;
  bin: number;
  count: number;
  failed: number;
}

export interface Row {
  row: number;
  /** Nanoseconds since the origin. */
  t: number;
  address: bigint;
  value: bigint;
  cause: number;
  duration: number;
  size: number;
  lane: number;
  kind: number;
  pending: boolean;
  failed: boolean;
  chosen: boolean;
  /** Begins outside of the stretch: still served in it, or belongs to the chosen row. */
  outside: boolean;
}

export interface Picture extends Header {
  cellList: Cell[];
  shareList: { bin: number; count: number }[];
  rowList: Row[];
}

const CELL = 16;
const SHARE = 8;
const ROW = 64;

export function decode(header: Header, data: DataView): Picture {
  let at = 0;
  const cellList: Cell[] = [];
  for (let n = 0; n < header.cells; n++, at += CELL) {
    cellList.push({
      lane: data.getUint16(at, true),
      kind: data.getUint8(at + 2),
      bin: data.getUint32(at + 4, true),
      count: data.getUint32(at + 8, true),
      failed: data.getUint32(at + 12, true),
    });
  }
  const shareList: { bin: number; count: number }[] = [];
  for (let n = 0; n < header.shares; n++, at += SHARE) {
    shareList.push({ bin: data.getUint32(at, true), count: data.getUint32(at + 4, true) });
  }
  const rowList: Row[] = [];
  for (let n = 0; n < header.rows; n++, at += ROW) {
    const flags = data.getUint8(at + 59);
    rowList.push({
      row: Number(data.getBigInt64(at, true)),
      t: Number(data.getBigInt64(at + 8, true)),
      address: data.getBigUint64(at + 16, true),
      value: data.getBigUint64(at + 24, true),
      cause: Number(data.getBigInt64(at + 32, true)),
      duration: data.getUint32(at + 40, true),
      size: data.getUint32(at + 44, true),
      lane: data.getInt16(at + 54, true),
      kind: data.getUint8(at + 56),
      pending: (flags & 1) !== 0,
      failed: (flags & 2) !== 0,
      chosen: (flags & 4) !== 0,
      outside: (flags & 8) !== 0,
    });
  }
  return { ...header, cellList, shareList, rowList };
}

/** Where lanes and times stand on a canvas. */
export interface Plan {
  left: number;
  top: number;
  width: number;
  laneHeight: number;
  lanes: number;
  stretch: Stretch;
  byRow: boolean;
}

export function rowPlace(row: Row, plan: Plan): { x: number; y: number } {
  const side = lookOf(row.kind).side;
  return {
    x: plan.left + toPixel(plan.byRow ? row.row : row.t, plan.stretch, plan.width),
    y: plan.top + (row.lane + 0.5 + 0.2 * side) * plan.laneHeight,
  };
}

/** The row under a pointer: the nearest mark within 8 px, else an access whose bar of time is under it. */
export function rowAt(rows: readonly Row[], plan: Plan, x: number, y: number): Row | null {
  let best: Row | null = null;
  let least = 8 * 8;
  let under: Row | null = null;
  for (const row of rows) {
    if (row.lane < 0) continue;
    const place = rowPlace(row, plan);
    const distance = (place.x - x) ** 2 + (place.y - y) ** 2;
    if (distance < least) {
      least = distance;
      best = row;
    }
    if (!plan.byRow && Math.abs(place.y - y) < 6 && x >= place.x) {
      const end = plan.left + toPixel(row.t + row.duration, plan.stretch, plan.width);
      if (x <= end || row.pending) under = row;
    }
  }
  return best ?? under;
}

/** Which lane is at a height; -1 outside of all. */
export function laneAt(plan: Plan, y: number): number {
  const lane = Math.floor((y - plan.top) / plan.laneHeight);
  return lane >= 0 && lane < plan.lanes ? lane : -1;
}

/** The cells of a bin in a lane: by kind, most first. */
export function cellsAt(picture: Picture, plan: Plan, x: number, lane: number): Cell[] {
  if (!picture.binned || picture.bin_first === undefined) return [];
  const at = plan.stretch.first + ((x - plan.left) / plan.width) * (plan.stretch.stop - plan.stretch.first);
  const bin = Math.floor((at - picture.bin_first) / picture.width);
  return picture.cellList.filter((cell) => cell.lane === lane && cell.bin === bin).sort((a, b) => b.count - a.count);
}

/** The row next to one in its lane, in the order of rows; the first or last in view where none is given. */
export function neighbour(rows: readonly Row[], current: number | null, lane: number, step: 1 | -1): Row | null {
  const inLane = rows.filter((row) => row.lane === lane && !row.outside).sort((a, b) => a.row - b.row);
  const found = step > 0 ? inLane.find((row) => current === null || row.row > current)
    : [...inLane].reverse().find((row) => current === null || row.row < current);
  return found ?? null;
}
