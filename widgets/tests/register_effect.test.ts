import { expect, test } from "vitest";
import { bitsText, effectOf, fieldText, readWanted } from "../src/register_effect";
import { readLayout, readValues, registersOf, segmentsOf, type Register } from "../src/register_layout";

/** CTRL: EN 0, RATE 7:4, DONE 8 (w1c), RO 9 (ro); others reserved. As the kernel describes it. */
const told = (over: object = {}) => ({
  name: "CTRL", offset: 0, width: 32, access: "rw", doc: "", reset: "10",
  write: "f1", w1c: "100", w1s: "0", rc: "0", wo: "0", reserved: "fffffc0e",
  fields: [
    { name: "RO", lsb: 9, width: 1, access: "ro", meanings: {}, doc: "" },
    { name: "DONE", lsb: 8, width: 1, access: "w1c", meanings: {}, doc: "" },
    { name: "RATE", lsb: 4, width: 4, access: "rw", meanings: { "0": "idle", f: "fast" }, doc: "" },
    { name: "EN", lsb: 0, width: 1, access: "rw", meanings: {}, doc: "" },
  ],
  ...over,
});
const register = (over: object = {}): Register =>
  registersOf(readLayout({ devices: [{ name: "d", address: "00:01.0", bars: [{ bar: 0, registers: [told(over)] }] }] }))[0]!;
const field = (name: string) => register().fields.find((one) => one.name === name)!;

test("poking a field keeps the other bits and writes no 1 to a write-1 bit", () => {
  const effect = effectOf(register(), field("RATE"), 0x111n, 3n);
  expect(effect).toMatchObject({ poked: 0x31n, stored: 0x131n, warns: false });
  expect(effect.notes[0]).toBe("0x00000111 → 0x00000131");
});

test("a write-1-to-clear bit is told of, whether it is cleared or kept", () => {
  expect(effectOf(register(), field("DONE"), 0x100n, 1n).notes).toEqual(["0x00000100 → 0x00000000", "bit 8 written 1: cleared"]);
  expect(effectOf(register(), null, 0x100n, 0n).notes).toContain("bit 8 written 0: not cleared (1 clears)");
  expect(effectOf(register(), field("DONE"), 0n, 1n).notes).toContain("bit 8 written 1: clear already");
});

test("reserved and read-only bits are told as dropped", () => {
  const effect = effectOf(register(), null, 0n, 0xffff_0201n);
  expect(effect.stored).toBe(1n);
  expect(effect.warns).toBe(true);
  expect(effect.notes).toContain("bits 31:16 reserved: dropped");
  expect(effect.notes).toContain("bit 9 read-only: dropped");
});

test("a read-only register drops the write, and says nothing else", () => {
  const ro = register({ write: "0", w1c: "0", reserved: "0", fields: [] });
  expect(effectOf(ro, null, 5n, 6n)).toMatchObject({ stored: 5n, warns: true, notes: ["CTRL is read-only: the write is dropped"] });
});

test("write-1-to-set bits are set, never cleared", () => {
  const w1s = register({ write: "0", w1c: "0", w1s: "ff", reserved: "0", fields: [] });
  expect(effectOf(w1s, null, 0x0fn, 0xf0n).stored).toBe(0xffn);
  expect(effectOf(w1s, null, 0xffn, 0n)).toMatchObject({ stored: 0xffn });
});

test("64 bits are exact", () => {
  const wide = register({ width: 64, write: "ffffffffffffffff", w1c: "0", reserved: "0", fields: [] });
  expect(effectOf(wide, null, 0n, 0xffff_8000_0000_0001n).stored).toBe(0xffff_8000_0000_0001n);
});

test("what does not fit, or cannot be looked at, is not poked", () => {
  expect(effectOf(register(), field("EN"), 0n, 2n).notes).toEqual(["CTRL.EN is 1 bit wide; 0x2 does not fit"]);
  expect(effectOf(register(), field("EN"), null, 1n).poked).toBeNull();
  expect(effectOf(register(), null, null, 1n).poked).toBe(1n);
});

test("values are written as numbers or as what a field calls them", () => {
  expect(readWanted("fast", field("RATE"))).toBe(15n);
  expect(readWanted(" 0x1f ", null)).toBe(31n);
  expect(readWanted("quick", field("RATE"))).toBeNull();
  expect(fieldText(field("RATE"), 0xf0n)).toBe("fast");
  expect(fieldText(field("RATE"), 0xb0n)).toBe("0xb");
});

test("runs of bits read as a data sheet has them", () => {
  expect(bitsText(0xffff_0000n)).toBe("31:16");
  expect(bitsText(0x8000_0000_0000_0011n)).toBe("63, 4, 0");
});

test("the bit-field row has every bit once, reserved ones between the fields", () => {
  const segments = segmentsOf(register());
  expect(segments.map((one) => one.field?.name ?? "-")).toEqual(["-", "RO", "DONE", "RATE", "-", "EN"]);
  expect(segments.reduce((sum, one) => sum + one.width, 0)).toBe(32);
  expect(segmentsOf(register({ fields: [] }))).toEqual([]);
});

test("values come as 64 bits each, from a buffer that is not aligned", () => {
  const bytes = new Uint8Array(1 + 2 * 25);
  const data = new DataView(bytes.buffer, 1);
  data.setBigUint64(8, 0xffff_8000_0000_0001n, true);
  data.setBigUint64(16, 3n, true);
  data.setUint8(49, 1);
  expect(readValues(data)).toEqual({ value: [0n, 0xffff_8000_0000_0001n], changed: [3n, 0n], marked: [0n, 0n], known: [false, true] });
});
