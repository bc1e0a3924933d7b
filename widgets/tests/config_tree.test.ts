import { expect, test } from "vitest";
import { flatten, itemAt, numberAt, whyNotWritable, writeNote } from "../src/config_tree";

const item = (label: string, start: number, size: number, access = "", items: any[] = []) => ({ label, text: "", start, size, access, items });
const items = flatten([
  item("Header", 0, 64, "", [item("Vendor ID", 0, 2, "ro"), item("Status", 6, 2, "w1c"), item("", 0, 1)]),
  item("BARs", 16, 24, "", [item("BAR0", 16, 4, "rw")]),
]);

test("the tree is a list with levels, and a byte belongs to the smallest item that has a name", () => {
  expect(items.map((one) => one.level)).toEqual([1, 2, 2, 2, 1, 2]);
  expect(items[itemAt(items, 1)]!.label).toBe("Vendor ID");
  expect(items[itemAt(items, 17)]!.label).toBe("BAR0");
  expect(items[itemAt(items, 0x20)]!.label).toBe("BARs");
  expect(itemAt(items, 200)).toBe(-1);
});

test("only what one access can write is written", () => {
  expect(whyNotWritable({ offset: 4, size: 2 })).toBe("");
  expect(whyNotWritable({ offset: 9, size: 3 })).toContain("no single access");
  expect(whyNotWritable({ offset: 7, size: 2 })).toContain("one dword");
});

test("the effect of a write is told as the standard has it", () => {
  expect(writeNote(items[1], 1n, 2n)).toContain("read-only in the standard");
  expect(writeNote(items[2], 0x8010n, 0x8000n)).toContain("0x8010 → 0x0010");
  expect(writeNote(items[2], 0x10n, 0x8000n)).toContain("nothing changes");
  expect(writeNote(undefined, 0n, 255n)).toContain("0x00 → 0xff");
});

test("numbers are little-endian", () => {
  const data = new DataView(new Uint8Array([0x34, 0x12, 0, 0x80]).buffer);
  expect(numberAt(data, 0, 2)).toBe(0x1234n);
  expect(numberAt(data, 0, 4)).toBe(0x8000_1234n);
});
