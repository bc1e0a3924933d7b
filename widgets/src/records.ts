// Rows as the kernel packs them (hdvlab/widgets/table_window.py), and what of them is shown.
import { hex } from "./hex";
import { KINDS, ORIGINS } from "./kinds";

export const RECORD_SIZE = 64;

export interface Row {
  row: number;
  time: bigint;
  address: bigint;
  value: bigint;
  cause: number;
  duration: number;
  size: number;
  kind: string;
  origin: string;
  bar: number;
  selected: boolean;
  pending: boolean;
  failed: boolean;
  device: string;
  register: string;
  fields: string;
  status: string;
  source: string;
}

/** The record at a place of a window. Row numbers stay below 2**53; addresses and values need all 64 bits. */
export function readRow(view: DataView, place: number, texts: string[]): Row {
  const at = place * RECORD_SIZE;
  const text = (offset: number) => texts[view.getUint16(at + offset, true)] ?? "";
  const flags = view.getUint8(at + 51);
  return {
    row: Number(view.getBigInt64(at, true)),
    time: view.getBigInt64(at + 8, true),
    address: view.getBigUint64(at + 16, true),
    value: view.getBigUint64(at + 24, true),
    cause: Number(view.getBigInt64(at + 32, true)),
    duration: view.getUint32(at + 40, true),
    size: view.getUint32(at + 44, true),
    kind: KINDS[view.getUint8(at + 48)] ?? "?",
    origin: ORIGINS[view.getUint8(at + 49)] ?? "?",
    bar: view.getInt8(at + 50),
    selected: (flags & 1) !== 0,
    pending: (flags & 2) !== 0,
    failed: (flags & 4) !== 0,
    device: text(52),
    register: text(54),
    fields: text(56),
    status: text(58),
    source: text(60),
  };
}

const MOVES = /^(config|mmio|dma|interrupt|doorbell$)/;

/** Where an access goes, without the register's name. */
export function placeOf(row: Row): string {
  if (!MOVES.test(row.kind)) return "";
  const address = hex(row.address);
  if (row.kind.startsWith("config")) return `config+${address}`;
  return row.bar >= 0 && !row.kind.startsWith("dma") ? `bar${row.bar}+${address}` : address;
}

/** The value in the width of its access; empty where there is none, or none yet. */
export function valueOf(row: Row): string {
  if (!MOVES.test(row.kind) || (row.pending && row.kind.endsWith("read"))) return "";
  return hex(row.value, Math.min(row.size, 8)) + (row.size > 8 ? "…" : "");
}

/** Seconds with all nine digits, in groups. */
export function timeOf(ns: bigint): string {
  const sign = ns < 0n ? "-" : "";
  const abs = ns < 0n ? -ns : ns;
  const digits = (abs % 1_000_000_000n).toString().padStart(9, "0");
  return `${sign}${abs / 1_000_000_000n}.${digits.slice(0, 3)} ${digits.slice(3, 6)} ${digits.slice(6)}`;
}

/** A length of time with three digits and its unit. */
export function durationOf(ns: number): string {
  if (ns < 1000) return `${ns} ns`;
  const [value, unit] = ns < 1e6 ? [ns / 1e3, "µs"] : ns < 1e9 ? [ns / 1e6, "ms"] : [ns / 1e9, "s"];
  return `${value.toPrecision(3).replace(/e\+3/, "")} ${unit}`;
}
