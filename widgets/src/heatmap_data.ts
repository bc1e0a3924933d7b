// What the kernel sends a heat map (hdvlab/widgets/heat_picture.py), and where its cells stand.
import type { Stretch } from "./zoom";
import { fromPixel } from "./zoom";

export interface Header {
  sequence: number;
  places: string[];
  place: number;
  reads: boolean;
  writes: boolean;
  extent: [number, number];
  mode: "whole" | "fixed" | "follow";
  first: number;
  stop: number;
  total: number;
  done: number;
  cells: number;
  chosen_cells: number;
  chosen: number;
  base?: string;
  low?: number;
  high?: number;
  touched?: [number, number];
  bands?: number;
  band_low?: number;
  step?: number;
  bins?: number;
  bin_first?: number;
  width?: number;
  most?: number;
  names?: { low: number; high: number; name: string }[];
}

export interface Heat extends Required<Header> {
  /** Count by band times `bins` plus stretch. */
  counts: Uint32Array;
  chosenCells: number[];
}

export function decode(header: Header, data: DataView | undefined): Heat {
  const whole = {
    base: "0x0", low: 0, high: 1, touched: [0, 1] as [number, number], bands: 0, band_low: 0, step: 1, bins: 0,
    bin_first: 0, width: 1, most: 0, names: [], ...header,
  };
  const counts = new Uint32Array(whole.bands * whole.bins);
  for (let n = 0; n < header.cells; n++) counts[data!.getUint32(8 * n, true)] = data!.getUint32(8 * n + 4, true);
  const chosenCells: number[] = [];
  for (let n = 0; n < header.chosen_cells; n++) chosenCells.push(data!.getUint32(8 * header.cells + 4 * n, true));
  return { ...whole, counts, chosenCells };
}

/** Where a heat map is drawn, and what its edges are. */
export interface Plan {
  left: number;
  top: number;
  width: number;
  height: number;
  time: Stretch;
  addresses: Stretch;
}

export interface Box {
  first: number;
  stop: number;
  low: number;
  high: number;
}

/** The cell under a point, as a stretch of time and of addresses; null outside of the map. */
export function cellAt(heat: Heat, plan: Plan, x: number, y: number): (Box & { count: number }) | null {
  if (x < plan.left || x >= plan.left + plan.width || y < plan.top || y >= plan.top + plan.height) return null;
  const bin = Math.floor((fromPixel(x - plan.left, plan.time, plan.width) - heat.bin_first) / heat.width);
  const band = Math.floor((fromPixel(y - plan.top, plan.addresses, plan.height) - heat.band_low) / heat.step);
  if (bin < 0 || bin >= heat.bins || band < 0 || band >= heat.bands) return null;
  const first = heat.bin_first + bin * heat.width;
  const low = heat.band_low + band * heat.step;
  return { first, stop: first + heat.width, low, high: low + heat.step, count: heat.counts[band * heat.bins + bin]! };
}

/** An address that is `offset` behind the picture's base. */
export function addressText(base: string, offset: number): string {
  const address = BigInt(base) + BigInt(Math.round(offset));
  return address < 0n ? "0x0" : `0x${address.toString(16)}`;
}

/** Addresses to write at the axis: multiples of a power of two, at most about `most`. */
export function addressTicks(addresses: Stretch, most: number): number[] {
  const least = (addresses.stop - addresses.first) / Math.max(most, 1);
  const step = 2 ** Math.max(0, Math.ceil(Math.log2(Math.max(least, 1))));
  const found: number[] = [];
  for (let n = Math.ceil(addresses.first / step); n * step < addresses.stop && found.length < 200; n++) found.push(n * step);
  return found;
}

/** Names that fit: each with at least `room` px to the one before, the first of those that crowd each other. */
export function namesThatFit(names: Heat["names"], plan: Plan, room: number): { y: number; name: string }[] {
  const placed: { y: number; name: string }[] = [];
  const scale = plan.height / (plan.addresses.stop - plan.addresses.first);
  for (const { low, high, name } of names) {
    const from = Math.max(low, plan.addresses.first);
    const to = Math.min(high, plan.addresses.stop);
    const y = plan.top + ((from + to) / 2 - plan.addresses.first) * scale;
    const before = placed[placed.length - 1];
    if (to > from && (!before || y - before.y >= room)) placed.push({ y, name });
  }
  return placed;
}
