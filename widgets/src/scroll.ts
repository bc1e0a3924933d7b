// Scrolling over more rows than an element may be high. Browsers stop at 16 to 33 million px; beyond LIMIT, a px of the
// scroll bar stands for several rows, and the wheel moves by rows all the same.

export const LIMIT = 8_000_000;

export interface Extent {
  /** Rows there are. */
  total: number;
  /** px of one row, and of what is seen. */
  row: number;
  viewport: number;
}

/** Height of the element that scrolls. */
export function heightOf({ total, row }: Extent): number {
  return Math.min(total * row, LIMIT);
}

/** Whether the scroll bar is coarser than rows. */
export function isScaled({ total, row }: Extent): boolean {
  return total * row > LIMIT;
}

/** The last row that can be on top, with a fraction. */
export function lastTop({ total, row, viewport }: Extent): number {
  return Math.max(0, total - viewport / row);
}

/** The row on top, with a fraction, at a position of the scroll bar. */
export function topAt(scrollTop: number, extent: Extent): number {
  const most = heightOf(extent) - extent.viewport;
  if (most <= 0) return 0;
  return clamp((scrollTop / most) * lastTop(extent), extent);
}

/** Where the scroll bar is when a row is on top. */
export function scrollTopOf(top: number, extent: Extent): number {
  const last = lastTop(extent);
  return last === 0 ? 0 : (top / last) * Math.max(0, heightOf(extent) - extent.viewport);
}

export function clamp(top: number, extent: Extent): number {
  return Math.max(0, Math.min(top, lastTop(extent)));
}

/** The top that brings a row on screen with the least movement; in its middle with `center`. */
export function reveal(place: number, top: number, extent: Extent, center = false): number {
  const seen = extent.viewport / extent.row;
  if (center) return clamp(place - (seen - 1) / 2, extent);
  if (place < top) return clamp(place, extent);
  return clamp(Math.max(top, place + 1 - seen), extent);
}
