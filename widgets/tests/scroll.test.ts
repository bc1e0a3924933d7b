import { expect, test } from "vitest";
import { clamp, heightOf, isScaled, lastTop, LIMIT, reveal, scrollTopOf, topAt, type Extent } from "../src/scroll";

const small: Extent = { total: 1000, row: 22, viewport: 220 };
const large: Extent = { total: 10_000_000, row: 22, viewport: 220 };

test("few rows scroll px by px", () => {
  expect([heightOf(small), isScaled(small), lastTop(small)]).toEqual([22_000, false, 990]);
  expect(topAt(33, small)).toBeCloseTo(1.5);
  expect(scrollTopOf(1.5, small)).toBeCloseTo(33);
});

test("ten million rows fit an element that a browser can make, and both ends are reached", () => {
  expect([heightOf(large), isScaled(large)]).toEqual([LIMIT, true]);
  expect(topAt(0, large)).toBe(0);
  expect(topAt(LIMIT - 220, large)).toBe(lastTop(large));
  for (const top of [0, 1, 123_456.5, 9_999_990]) expect(topAt(scrollTopOf(top, large), large)).toBeCloseTo(top, 3);
});

test("fewer rows than fit do not scroll", () => {
  const few = { total: 3, row: 22, viewport: 220 };
  expect([lastTop(few), topAt(10, few), scrollTopOf(2, few), clamp(-1, few)]).toEqual([0, 0, 0, 0]);
});

test("a row is brought on screen with the least movement, or into the middle", () => {
  expect(reveal(105, 100, small)).toBe(100);
  expect(reveal(99, 100, small)).toBe(99);
  expect(reveal(110, 100, small)).toBe(101);
  expect(reveal(500, 0, small, true)).toBe(495.5);
  expect(reveal(0, 100, small, true)).toBe(0);
});
