// Draws a heat map on a canvas.
import { timeAxis } from "./axis";
import { crisp, drawAxis, fitted, type Colors } from "./chart";
import { addressText, addressTicks, namesThatFit, type Box, type Heat, type Plan } from "./heatmap_data";
import { heatStep } from "./palette";
import { grouped } from "./axis";
import { toPixel } from "./zoom";

export interface Scene {
  heat: Heat;
  plan: Plan;
  colors: Colors;
  /** 256 colours from few to many. */
  ramp: Uint8Array;
  cursor: Box | null;
  brush: Box | null;
}

const SCALE_WIDTH = 12;

export function draw(context: CanvasRenderingContext2D, scene: Scene): void {
  const { heat, plan, colors } = scene;
  context.fillStyle = colors.raised;
  context.globalAlpha = 0.45;
  context.fillRect(plan.left, plan.top, plan.width, plan.height);
  context.globalAlpha = 1;
  drawAxis(context, timeAxis(plan.time.first, plan.time.stop, Math.max(2, Math.floor(plan.width / 110))), plan.time, plan, colors, false);
  drawAddresses(context, scene);
  context.save();
  context.beginPath();
  context.rect(plan.left, plan.top, plan.width, plan.height);
  context.clip();
  drawCells(context, scene);
  context.strokeStyle = colors.focus;
  context.lineWidth = 1.5;
  for (const cell of heat.chosenCells) outline(context, plan, cellBox(heat, cell));
  context.restore();
  for (const box of [scene.brush, scene.cursor]) {
    if (!box) continue;
    context.strokeStyle = colors.text;
    context.lineWidth = 1.5;
    context.setLineDash(box === scene.brush ? [4, 3] : []);
    outline(context, plan, box);
    context.setLineDash([]);
  }
  context.strokeStyle = colors.line;
  context.lineWidth = 1;
  context.strokeRect(crisp(plan.left), crisp(plan.top), plan.width, plan.height);
  drawScale(context, scene);
}

function cellBox(heat: Heat, cell: number): Box {
  const first = heat.bin_first + (cell % heat.bins) * heat.width;
  const low = heat.band_low + Math.floor(cell / heat.bins) * heat.step;
  return { first, stop: first + heat.width, low, high: low + heat.step };
}

function outline(context: CanvasRenderingContext2D, plan: Plan, box: Box): void {
  const x = plan.left + toPixel(box.first, plan.time, plan.width);
  const y = plan.top + toPixel(box.low, plan.addresses, plan.height);
  const wide = plan.left + toPixel(box.stop, plan.time, plan.width) - x;
  const tall = plan.top + toPixel(box.high, plan.addresses, plan.height) - y;
  context.strokeRect(x - 1, y - 1, Math.max(wide, 2) + 2, Math.max(tall, 2) + 2);
}

/** The cells as a small picture, one pixel each, stretched without smoothing. */
function drawCells(context: CanvasRenderingContext2D, { heat, plan, ramp }: Scene): void {
  if (heat.bins === 0 || heat.bands === 0) return;
  const image = new ImageData(heat.bins, heat.bands);
  for (let cell = 0; cell < heat.counts.length; cell++) {
    const count = heat.counts[cell]!;
    if (count === 0) continue;
    const at = 3 * heatStep(count, heat.most);
    image.data[4 * cell] = ramp[at]!;
    image.data[4 * cell + 1] = ramp[at + 1]!;
    image.data[4 * cell + 2] = ramp[at + 2]!;
    image.data[4 * cell + 3] = 255;
  }
  const small = document.createElement("canvas");
  small.width = heat.bins;
  small.height = heat.bands;
  small.getContext("2d")!.putImageData(image, 0, 0);
  const x = plan.left + toPixel(heat.bin_first, plan.time, plan.width);
  const y = plan.top + toPixel(heat.band_low, plan.addresses, plan.height);
  const end = plan.left + toPixel(heat.bin_first + heat.bins * heat.width, plan.time, plan.width);
  const bottom = plan.top + toPixel(heat.band_low + heat.bands * heat.step, plan.addresses, plan.height);
  context.imageSmoothingEnabled = false;
  context.drawImage(small, x, y, end - x, bottom - y);
}

/** Register names where they fit, addresses where there is nothing to name. */
function drawAddresses(context: CanvasRenderingContext2D, { heat, plan, colors }: Scene): void {
  context.textAlign = "right";
  context.textBaseline = "middle";
  context.lineWidth = 1;
  const names = namesThatFit(heat.names, plan, 12);
  context.font = `11px ${colors.code}`;
  context.fillStyle = colors.text;
  for (const { y, name } of names) context.fillText(fitted(context, name, plan.left - 14), plan.left - 8, y);
  context.strokeStyle = colors.dim;
  context.fillStyle = colors.dim;
  for (const at of addressTicks(plan.addresses, plan.height / 34)) {
    const y = plan.top + toPixel(at, plan.addresses, plan.height);
    if (names.some((name) => Math.abs(name.y - y) < 12)) continue;
    context.beginPath();
    context.moveTo(plan.left - 4, crisp(y));
    context.lineTo(plan.left, crisp(y));
    context.stroke();
    context.fillText(addressText(heat.base, at), plan.left - 8, y);
  }
}

function drawScale(context: CanvasRenderingContext2D, { heat, plan, colors, ramp }: Scene): void {
  const x = plan.left + plan.width + 14;
  const tall = plan.height;
  for (let y = 0; y < tall; y++) {
    const at = 3 * Math.round(255 * (1 - y / (tall - 1)));
    context.fillStyle = `rgb(${ramp[at]},${ramp[at + 1]},${ramp[at + 2]})`;
    context.fillRect(x, plan.top + y, SCALE_WIDTH, 1.2);
  }
  context.fillStyle = colors.text;
  context.textAlign = "left";
  context.textBaseline = "middle";
  context.font = `11px ${colors.font}`;
  const most = Math.max(heat.most, 1);
  const ticks = [1];
  for (let ten = 10; ten < most / 2; ten *= 10) ticks.push(ten);
  if (most > 1) ticks.push(most);
  for (const count of ticks) {
    const y = plan.top + tall * (1 - heatStep(count, Math.max(most, 2)) / 255);
    context.fillText(grouped(`${count}`), x + SCALE_WIDTH + 5, Math.max(plan.top + 5, Math.min(y, plan.top + tall - 5)));
  }
}
