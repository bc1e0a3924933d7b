// A canvas that is crisp on every screen, and what charts draw alike: axes, hatching, text.
import type { Axis } from "./axis";
import { toPixel, type Stretch } from "./zoom";

export interface Colors {
  text: string;
  dim: string;
  back: string;
  raised: string;
  line: string;
  focus: string;
  chosen: string;
  font: string;
}

/** Sets a canvas to a size in CSS px, and gives its context, scaled so that one unit is one CSS px. */
export function sized(canvas: HTMLCanvasElement, width: number, height: number): CanvasRenderingContext2D {
  const ratio = window.devicePixelRatio || 1;
  const across = Math.max(1, Math.round(width * ratio));
  const down = Math.max(1, Math.round(height * ratio));
  if (canvas.width !== across || canvas.height !== down) {
    canvas.width = across;
    canvas.height = down;
    canvas.style.width = `${width}px`;
    canvas.style.height = `${height}px`;
  }
  const context = canvas.getContext("2d")!;
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  context.clearRect(0, 0, width, height);
  return context;
}

/** A coordinate at which a line of 1 px is sharp. */
export function crisp(at: number): number {
  return Math.round(at - 0.5) + 0.5;
}

export const AXIS_HEIGHT = 38;

/** Grid lines and the axis below: ticks, labels, and what it shows. */
export function drawAxis(
  context: CanvasRenderingContext2D,
  axis: Axis,
  stretch: Stretch,
  box: { left: number; top: number; width: number; height: number },
  colors: Colors,
  grid: boolean,
): void {
  const bottom = box.top + box.height;
  context.strokeStyle = colors.line;
  context.fillStyle = colors.text;
  context.font = `11px ${colors.font}`;
  context.textBaseline = "top";
  context.lineWidth = 1;
  let free = -Infinity;
  for (const tick of axis.ticks) {
    const x = crisp(box.left + toPixel(tick.at, stretch, box.width));
    if (x < box.left || x > box.left + box.width) continue;
    context.globalAlpha = grid ? 0.55 : 1;
    context.beginPath();
    context.moveTo(x, grid ? box.top : bottom);
    context.lineTo(x, bottom + 4);
    context.stroke();
    context.globalAlpha = 1;
    const width = context.measureText(tick.label).width;
    const start = Math.min(Math.max(x - width / 2, box.left - 8), box.left + box.width - width);
    if (start < free) continue;
    context.textAlign = "left";
    context.fillText(tick.label, start, bottom + 6);
    free = start + width + 10;
  }
  context.fillStyle = colors.dim;
  context.textAlign = "center";
  context.fillText(axis.label, box.left + box.width / 2, bottom + 22);
}

/** Diagonal lines in a box: something is missing there. */
export function hatch(
  context: CanvasRenderingContext2D,
  x: number,
  y: number,
  width: number,
  height: number,
  color: string,
): void {
  context.save();
  context.beginPath();
  context.rect(x, y, width, height);
  context.clip();
  context.strokeStyle = color;
  context.lineWidth = 1;
  context.globalAlpha = 0.7;
  context.beginPath();
  for (let at = x - height; at < x + width; at += 7) {
    context.moveTo(at, y + height);
    context.lineTo(at + height, y);
  }
  context.stroke();
  context.restore();
}

/** A text no wider than `room`, with an ellipsis where it is cut. */
export function fitted(context: CanvasRenderingContext2D, text: string, room: number): string {
  if (context.measureText(text).width <= room) return text;
  let kept = text;
  while (kept.length > 1 && context.measureText(`${kept}…`).width > room) kept = kept.slice(0, -1);
  return `${kept}…`;
}
