import { expect, test } from "vitest";
import { counted, hex, parseNumber } from "../src/hex";

test("numbers of 64 bits are exact", () => {
  expect(hex(0xffff_8000_0000_0001n)).toBe("0xffff800000000001");
  expect(parseNumber("0xffff_8000_0000_0001")).toBe(0xffff_8000_0000_0001n);
  expect(hex(7, 4)).toBe("0x00000007");
  expect(counted(10_000_000)).toBe("10,000,000");
});

test("what is no number of 64 bits is none", () => {
  for (const text of ["", "x", "0x", "-1", "1.5", "0x1_0000_0000_0000_0000"]) expect(parseNumber(text)).toBeNull();
});
