// What stands for one row on a canvas, and the arrow from one to another.
import type { Marker } from "./palette";

const SHAPES: Partial<Record<Marker, number[][]>> = {
  s: [[-0.9, -0.9], [0.9, -0.9], [0.9, 0.9], [-0.9, 0.9]],
  "<": [[-1.15, 0], [0.8, -1.05], [0.8, 1.05]],
  ">": [[1.15, 0], [-0.8, 1.05], [-0.8, -1.05]],
  D: [[0, -1.25], [1.1, 0], [0, 1.25], [-1.1, 0]],
  d: [[0, -1.25], [0.75, 0], [0, 1.25], [-0.75, 0]],
  "|": [[-0.25, -1.5], [0.25, -1.5], [0.25, 1.5], [-0.25, 1.5]],
  P: [[-0.4, -1.1], [0.4, -1.1], [0.4, -0.4], [1.1, -0.4], [1.1, 0.4], [0.4, 0.4], [0.4, 1.1], [-0.4, 1.1],
    [-0.4, 0.4], [-1.1, 0.4], [-1.1, -0.4], [-0.4, -0.4]],
  X: [[-1.1, -0.65], [-0.65, -1.1], [0, -0.45], [0.65, -1.1], [1.1, -0.65], [0.45, 0], [1.1, 0.65], [0.65, 1.1],
    [0, 0.45], [-0.65, 1.1], [-1.1, 0.65], [-0.45, 0]],
};

/** A marker around a point; `size` is its half. */
export function mark(
  context: CanvasRenderingContext2D, marker: Marker, x: number, y: number, size: number, fill: string, line: string,
  edge: number,
): void {
  context.beginPath();
  const shape = SHAPES[marker];
  if (shape) {
    for (const [across, down] of shape as [number, number][]) context.lineTo(x + across * size, y + down * size);
    context.closePath();
  } else {
    context.arc(x, y, size, 0, 2 * Math.PI);
  }
  context.fillStyle = fill;
  context.fill();
  context.strokeStyle = line;
  context.lineWidth = edge;
  context.stroke();
}

/** From a cause down or up to its effect. */
export function arrow(context: CanvasRenderingContext2D, x: number, y: number, toX: number, toY: number): void {
  const bend = Math.min(Math.abs(toY - y) / 2, 18) * Math.sign(toY - y);
  context.beginPath();
  context.moveTo(x, y);
  context.bezierCurveTo(x, y + bend, toX, toY - 2 * bend, toX, toY - 5 * Math.sign(toY - y));
  context.stroke();
  const tip = toY - 4 * Math.sign(toY - y);
  const back = tip - 5 * Math.sign(toY - y);
  context.beginPath();
  context.moveTo(toX, tip);
  context.lineTo(toX - 3, back);
  context.lineTo(toX + 3, back);
  context.fill();
}

/** A ring around a marker: chosen, or in focus. */
export function ring(
  context: CanvasRenderingContext2D, x: number, y: number, radius: number, edge: string, inside: string | null,
): void {
  context.beginPath();
  context.arc(x, y, radius, 0, 2 * Math.PI);
  if (inside) {
    context.fillStyle = inside;
    context.fill();
  }
  context.strokeStyle = edge;
  context.lineWidth = 1.5;
  context.stroke();
}
