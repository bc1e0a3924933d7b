// Zooming and panning of a stretch of an axis, and where things stand in it.

export interface Stretch {
  first: number;
  stop: number;
}

export const SHORTEST = 10; // nanoseconds or rows

/** How far a stretch may go: a little beyond the ends of what there is. */
function limits(extent: Stretch): Stretch {
  const room = Math.max(extent.stop - extent.first, SHORTEST);
  const margin = Math.ceil(room * 0.02);
  return { first: extent.first - margin, stop: extent.first + room + margin };
}

/** A stretch of the same length, moved into the limits; whole numbers. */
export function clamped(stretch: Stretch, extent: Stretch): Stretch {
  const { first: low, stop: high } = limits(extent);
  const span = Math.max(SHORTEST, Math.min(Math.round(stretch.stop - stretch.first), high - low));
  const first = Math.max(low, Math.min(Math.round(stretch.first), high - span));
  return { first, stop: first + span };
}

/** Makes a stretch `factor` times as long; `anchor` (0 at its start, 1 at its end) stays where it is. */
export function zoomed(stretch: Stretch, factor: number, anchor: number, extent: Stretch): Stretch {
  const span = stretch.stop - stretch.first;
  const { first: low, stop: high } = limits(extent);
  const longer = Math.max(SHORTEST, Math.min(span * factor, high - low));
  const first = stretch.first + (span - longer) * anchor;
  return clamped({ first, stop: first + longer }, extent);
}

/** Moves a stretch by a share of its length. */
export function panned(stretch: Stretch, share: number, extent: Stretch): Stretch {
  const by = (stretch.stop - stretch.first) * share;
  return clamped({ first: stretch.first + by, stop: stretch.stop + by }, extent);
}

/** Factor of a wheel's turn: a notch of 100 px is a fifth, a touchpad's fine steps are fine. */
export function wheelFactor(deltaY: number, deltaMode: number): number {
  const pixels = deltaY * (deltaMode === 1 ? 33 : deltaMode === 2 ? 400 : 1);
  return Math.exp(Math.max(-300, Math.min(300, pixels)) * 0.002);
}

/** Where a place of the stretch stands in `width` px. */
export function toPixel(at: number, stretch: Stretch, width: number): number {
  return ((at - stretch.first) / (stretch.stop - stretch.first)) * width;
}

/** What stands at a pixel. */
export function fromPixel(pixel: number, stretch: Stretch, width: number): number {
  return stretch.first + (pixel / width) * (stretch.stop - stretch.first);
}

/** Whether a stretch shows everything there is. */
export function isWhole(stretch: Stretch, extent: Stretch): boolean {
  return stretch.first <= extent.first && stretch.stop >= extent.stop;
}
