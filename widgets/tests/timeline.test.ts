import { expect, test } from "vitest";
import { LookQueue } from "../src/look_queue";
import { heatColors, heatStep, isDark, lookOf } from "../src/palette";
import { cellsAt, decode, laneAt, neighbour, rowAt, rowPlace, type Header, type Plan } from "../src/timeline_data";
import { binWords, rowWords, statusOf } from "../src/timeline_words";

const header: Header = {
  sequence: 1, first: 0, stop: 1000, extent: [0, 1000], origin: "0", by_row: false, mode: "whole", lanes: ["BAR0", "DMA"],
  total: 5, summed: 5, binned: false, shown: 2, pending: 0, chosen: 0, width: 0, moments: [], more_moments: 0, lost: [],
  cells: 0, shares: 0, rows: 0,
};
const plan: Plan = { left: 100, top: 20, width: 1000, laneHeight: 40, lanes: 2, stretch: { first: 0, stop: 1000 }, byRow: false };

function record(data: DataView, at: number, row: number, t: number, lane: number, kind: number, more: Record<string, number> = {}) {
  data.setBigInt64(at, BigInt(row), true);
  data.setBigInt64(at + 8, BigInt(t), true);
  data.setBigUint64(at + 16, 0xffff800000001000n, true);
  data.setBigUint64(at + 24, 0xffffffffffffffffn, true);
  data.setBigInt64(at + 32, BigInt(more.cause ?? -1), true);
  data.setUint32(at + 40, more.duration ?? 0, true);
  data.setUint32(at + 44, 8, true);
  data.setInt16(at + 54, lane, true);
  data.setUint8(at + 56, kind);
  data.setUint8(at + 59, more.flags ?? 0);
}

function rows(...all: [number, number, number, number, Record<string, number>?][]) {
  const data = new DataView(new ArrayBuffer(64 * all.length));
  all.forEach(([row, t, lane, kind, more], n) => record(data, 64 * n, row, t, lane, kind, more));
  return decode({ ...header, rows: all.length }, data);
}

test("records keep all 64 bits", () => {
  const [row] = rows([7, 500, 1, 5, { cause: 3, flags: 5 }]).rowList;
  expect(row).toMatchObject({
    row: 7, t: 500, lane: 1, kind: 5, cause: 3, address: 0xffff800000001000n, value: 0xffffffffffffffffn, pending: true,
    failed: false, chosen: true,
  });
  expect(rowWords(row!)).toContain("0xffffffffffffffff");
});

test("cells and chosen shares stand before the rows", () => {
  const data = new DataView(new ArrayBuffer(16 + 8));
  data.setUint16(0, 1, true);
  data.setUint8(2, 3);
  data.setUint32(4, 2, true);
  data.setUint32(8, 900, true);
  data.setUint32(12, 1, true);
  data.setUint32(16, 2, true);
  data.setUint32(20, 50, true);
  const picture = decode({ ...header, binned: true, cells: 1, shares: 1, bin_first: 0, width: 100, bins: 10 }, data);
  expect(picture.cellList).toEqual([{ lane: 1, kind: 3, bin: 2, count: 900, failed: 1 }]);
  expect(picture.shareList).toEqual([{ bin: 2, count: 50 }]);
  expect(cellsAt(picture, plan, 100 + 250, 1)).toHaveLength(1);
  expect(cellsAt(picture, plan, 100 + 350, 1)).toHaveLength(0);
  expect(cellsAt(picture, plan, 100 + 250, 0)).toHaveLength(0);
  expect(binWords(picture, picture.cellList)).toBe("DMA, 100 ns from 200 ns on\n900 × read, 1 failed");
  expect(statusOf(picture, 0).join()).toContain("binned: a bar counts the rows of a kind in 100 ns");
});

test("the nearest mark within reach is hit, else the bar of an access that takes long", () => {
  const { rowList } = rows([0, 100, 0, 3, { duration: 500 }], [1, 105, 0, 4], [2, 900, 1, 7]);
  const first = rowPlace(rowList[0]!, plan);
  expect(rowAt(rowList, plan, first.x + 1, first.y)?.row).toBe(0);
  expect(rowAt(rowList, plan, first.x + 5, first.y + 16)?.row).toBe(1);
  expect(rowAt(rowList, plan, first.x + 300, first.y)?.row).toBe(0);
  expect(rowAt(rowList, plan, first.x + 600, first.y)).toBeNull();
});

test("by row the axis counts row numbers", () => {
  const { rowList } = rows([500, 1, 0, 7]);
  expect(rowPlace(rowList[0]!, { ...plan, byRow: true }).x).toBe(600);
});

test("lanes are found by height, and neighbours in them by row number, not by time", () => {
  expect([19, 20, 59, 60, 99, 100].map((y) => laneAt(plan, y))).toEqual([-1, 0, 0, 1, 1, -1]);
  const { rowList } = rows([5, 300, 0, 3], [6, 200, 0, 3], [7, 250, 1, 3], [8, 100, 0, 3, { flags: 8 }]);
  expect(neighbour(rowList, null, 0, 1)?.row).toBe(5);
  expect(neighbour(rowList, 5, 0, 1)?.row).toBe(6);
  expect(neighbour(rowList, 6, 0, 1)).toBeNull(); // row 8 begins outside
  expect(neighbour(rowList, null, 0, -1)?.row).toBe(6);
});

test("what is not drawn is said", () => {
  const picture = { ...rows(), summed: 3, pending: 2, more_moments: 4, lost: [{ first: 0, stop: 1, rows: 1204 }], chosen: 1 };
  expect(statusOf(picture, 1000)).toEqual([
    "2 of 5 rows in view", "still counting: 3 rows so far", "1,000 effects; arrows for up to 300, and for the chosen row",
    "2 pending", "1,204 rows lost where it is hatched", "4 more marks not drawn", "1 row chosen",
  ]);
  expect(statusOf({ ...rows(), more_lost: 1, more_running: 70, unsearched: 123456 }, 0).slice(1)).toEqual([
    "1 more place with lost rows not drawn", "70 more accesses that ran in view not drawn",
    "effects of the chosen row searched in the 65,535 rows behind it, not in 123,456 later ones",
  ]);
});

test("every kind has a look, and reads stand above writes", () => {
  for (let kind = 0; kind <= 26; kind++) expect(lookOf(kind).name).not.toBe("");
  expect([lookOf(3).side, lookOf(4).side]).toEqual([-1, 1]);
});

test("more stands out more from the page, in both themes", () => {
  const light = heatColors("cividis", false);
  const dark = heatColors("cividis", true);
  const brightness = (colors: Uint8Array, step: number) => colors[3 * step]! + colors[3 * step + 1]! + colors[3 * step + 2]!;
  expect(brightness(light, 255)).toBeLessThan(brightness(light, 0));
  expect(brightness(dark, 255)).toBeGreaterThan(brightness(dark, 0));
  expect([heatStep(0, 9), heatStep(1, 1000), heatStep(1000, 1000), heatStep(1, 1)]).toEqual([0, 0, 255, 255]);
  expect([isDark("rgb(17, 17, 17)"), isDark("rgb(255, 255, 255)")]).toEqual([true, false]);
});

test("one question is asked at a time, the newest wish kept, and answers to other views are left alone", () => {
  const asked: [string, number][] = [];
  const queue = new LookQueue<string>((look, sequence) => asked.push([look, sequence]), 100);
  expect(queue.accepts(0)).toBe(true);
  queue.ask("a");
  queue.ask("b");
  queue.ask("c");
  expect(asked).toEqual([["a", 101]]);
  expect(queue.accepts(55)).toBe(false);
  expect(queue.accepts(101)).toBe(false); // it is out of date: c is asked for
  expect(asked).toEqual([["a", 101], ["c", 102]]);
  expect(queue.accepts(102)).toBe(true);
  expect(queue.waits).toBe(false);
  queue.close();
});
