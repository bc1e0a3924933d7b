import { expect, test } from "vitest";
import { addressText, addressTicks, cellAt, decode, namesThatFit, type Header, type Plan } from "../src/heatmap_data";
import { boxBetween } from "../src/heatmap_hands";

const header: Header = {
  sequence: 1, places: ["blink BAR0"], place: 0, reads: true, writes: true, extent: [0, 1000], mode: "whole", first: 0, stop: 1000,
  total: 9, done: 1, cells: 1, chosen_cells: 1, chosen: 1, base: "0x0", low: 0, high: 16, touched: [0, 16], bands: 4, band_low: 0,
  step: 4, bins: 10, bin_first: 0, width: 100, most: 7, names: [{ low: 0, high: 4, name: "CTRL" }, { low: 4, high: 8, name: "COUNT" }],
};
const plan: Plan = { left: 50, top: 10, width: 500, height: 160, time: { first: 0, stop: 1000 }, addresses: { first: 0, stop: 16 } };

test("cells stand where their numbers say", () => {
  const data = new DataView(new ArrayBuffer(12));
  data.setUint32(0, 13, true);
  data.setUint32(4, 7, true);
  data.setUint32(8, 13, true);
  const heat = decode(header, data);
  expect([heat.counts[13], heat.chosenCells]).toEqual([7, [13]]);
  expect(cellAt(heat, plan, 50 + 3.5 * 50, 10 + 1.5 * 40)).toEqual({ first: 300, stop: 400, low: 4, high: 8, count: 7 });
  expect(cellAt(heat, plan, 49, 50)).toBeNull();
  expect(cellAt(heat, plan, 60, 170)).toBeNull();
});

test("a trace without a place is a map without cells", () => {
  const { places: _, ...rest } = { ...header, place: -1, cells: 0, chosen_cells: 0 };
  const heat = decode({ ...rest, places: [], bands: undefined, bins: undefined } as unknown as Header, undefined);
  expect(heat.counts.length || 0).toBe(0);
});

test("addresses are exact to 64 bits", () => {
  expect(addressText("0xfffffffffffff000", 0xfff)).toBe("0xffffffffffffffff");
  expect(addressText("0x1000", 4)).toBe("0x1004");
});

test("addresses at the axis are multiples of a power of two", () => {
  expect(addressTicks({ first: 0, stop: 2052 }, 9)).toEqual([0, 256, 512, 768, 1024, 1280, 1536, 1792, 2048]);
  expect(addressTicks({ first: 3, stop: 9 }, 50)).toEqual([3, 4, 5, 6, 7, 8]);
});

test("names are left out where they would overlap", () => {
  expect(namesThatFit(header.names!, plan, 12).map((one) => one.name)).toEqual(["CTRL", "COUNT"]);
  expect(namesThatFit(header.names!, plan, 50).map((one) => one.name)).toEqual(["CTRL"]);
  const zoomed = { ...plan, addresses: { first: 6, stop: 10 } };
  expect(namesThatFit(header.names!, zoomed, 12)).toEqual([{ y: 50, name: "COUNT" }]);
});

test("a box is the same drawn from any corner, and ends at the map's edge", () => {
  const box = { first: 100, stop: 500, low: 4, high: 12 };
  expect(boxBetween(plan, 100, 50, 300, 130)).toEqual(box);
  expect(boxBetween(plan, 300, 130, 100, 50)).toEqual(box);
  expect(boxBetween(plan, 0, 0, 9999, 9999)).toEqual({ first: 0, stop: 1000, low: 0, high: 16 });
});
