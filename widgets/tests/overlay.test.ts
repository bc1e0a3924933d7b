import { expect, test } from "vitest";
import { entriesIn, fieldAt, valueAt, type Overlay } from "../src/overlay";

const desc: Overlay = { name: "virtq_desc", stride: 16, fields: [[0, 8, "addr"], [8, 4, "len"], [12, 2, "flags"], [14, 2, "next"]], head: [], headSize: 0, doc: "" };
const used: Overlay = { name: "virtq_used", stride: 8, fields: [[0, 4, "id"], [4, 4, "len"]], head: [[0, 2, "flags"], [2, 2, "idx"]], headSize: 4, doc: "" };

test("a byte is found in its field, entry and head", () => {
  expect(fieldAt(desc, 0x1000n, 0x101an)).toEqual({ entry: 1, name: "len", first: 0x1018n, size: 4, field: 1 });
  expect(fieldAt(used, 0x1000n, 0x1003n)).toMatchObject({ entry: -1, name: "idx" });
  expect(fieldAt(used, 0x1000n, 0x1004n)).toMatchObject({ entry: 0, name: "id" });
  expect(fieldAt(desc, 0x1000n, 0xfffn)).toBeNull();
  expect(fieldAt({ ...desc, fields: [[0, 1, "only"]] }, 0n, 5n)).toBeNull();
});

test("values of 64 bits are exact, longer ones are bytes, and what is outside of the window is none", () => {
  const data = new DataView(new ArrayBuffer(16));
  data.setBigUint64(0, 0xffff_8000_0000_0001n, true);
  expect(valueAt(data, 0n, 0n, 8)).toBe("0xffff800000000001");
  expect(valueAt(data, 0n, 0n, 9)).toBe("01 00 00 00 00 80 ff ff 00");
  expect(valueAt(data, 8n, 0n, 8)).toBeNull();
  expect(valueAt(data, 0n, 12n, 8)).toBeNull();
});

test("entries of a window that begins in the middle of the table keep their numbers", () => {
  const data = new DataView(new ArrayBuffer(32));
  const entries = entriesIn(desc, 0n, data, 0x28n);
  expect(entries.map((one) => one.number)).toEqual([2, 3, 4]);
  expect(entries[0]!.values).toEqual([null, "0x0", "0x0", "0x0"]);
  expect(entriesIn(used, 0x28n, data, 0x28n).map((one) => one.number)).toEqual([-1, 0, 1, 2, 3]);
  expect(entriesIn(used, 0x1000n, data, 0x28n)).toEqual([]);
});

test("an overlay at the end of the address space neither wraps nor hangs", () => {
  const top = (1n << 64n) - 16n;
  expect(entriesIn(desc, top, new DataView(new ArrayBuffer(16)), top)).toHaveLength(1);
});
