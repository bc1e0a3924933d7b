import { expect, test } from "vitest";
import { durationOf, placeOf, readRow, RECORD_SIZE, timeOf, valueOf } from "../src/records";

/** A record as table_window.py packs it, in a buffer that is not aligned, as they come. */
function record(fields: { kind: number; size?: number; bar?: number; flags?: number; value?: bigint; address?: bigint }): DataView {
  const view = new DataView(new ArrayBuffer(RECORD_SIZE + 3), 3);
  view.setBigInt64(0, 41n, true);
  view.setBigInt64(8, 1_000_000_007n, true);
  view.setBigUint64(16, fields.address ?? 0xffff_8000_0000_0001n, true);
  view.setBigUint64(24, fields.value ?? 0xf000_0000_0000_0001n, true);
  view.setBigInt64(32, -1n, true);
  view.setUint32(44, fields.size ?? 8, true);
  view.setUint8(48, fields.kind);
  view.setInt8(50, fields.bar ?? -1);
  view.setUint8(51, fields.flags ?? 0);
  view.setUint16(54, 1, true);
  return view;
}

test("addresses and values keep all their 64 bits", () => {
  const row = readRow(record({ kind: 5 }), 0, ["", "CTRL"]);
  expect([row.row, row.kind, row.register, row.cause]).toEqual([41, "dma_read", "CTRL", -1]);
  expect([placeOf(row), valueOf(row), timeOf(row.time)]).toEqual(["0xffff800000000001", "0xf000000000000001", "1.000 000 007"]);
});

test("a value is as wide as its access, and a read that waits has none", () => {
  expect(valueOf(readRow(record({ kind: 3, size: 4, value: 7n }), 0, []))).toBe("0x00000007");
  expect(valueOf(readRow(record({ kind: 3, flags: 2 }), 0, []))).toBe("");
  expect(valueOf(readRow(record({ kind: 6, size: 4096, value: 7n }), 0, []))).toBe("0x0000000000000007…");
  expect(valueOf(readRow(record({ kind: 18 }), 0, []))).toBe("");
});

test("a place says which space it is in", () => {
  expect(placeOf(readRow(record({ kind: 4, bar: 2, address: 16n }), 0, []))).toBe("bar2+0x10");
  expect(placeOf(readRow(record({ kind: 1, address: 4n }), 0, []))).toBe("config+0x4");
  expect(placeOf(readRow(record({ kind: 24 }), 0, []))).toBe("");
});

test("lengths of time have a unit", () => {
  expect([1, 999, 1500, 15_000, 2_000_000, 4_294_967_295].map(durationOf)).toEqual(
    ["1 ns", "999 ns", "1.50 µs", "15.0 µs", "2.00 ms", "4.29 s"]);
});
