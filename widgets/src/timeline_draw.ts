// Draws a timeline on a canvas.
import { rowAxis, timeAxis } from "./axis";
import { crisp, drawAxis, fitted, hatch, type Colors } from "./chart";
import { arrow, mark, ring } from "./markers";
import { lookOf, type Palette } from "./palette";
import { rowPlace, type Cell, type Picture, type Plan, type Row } from "./timeline_data";
import { toPixel } from "./zoom";

export const MOST_LINKS = 300;

export interface Brush {
  from: number;
  to: number;
  lanes: [number, number] | null;
}

export interface Scene {
  picture: Picture;
  plan: Plan;
  colors: Colors;
  palette: Palette;
  lane: number;
  focused: number | null;
  hasFocus: boolean;
  brush: Brush | null;
}

/** How many causes and effects are in the picture. */
export function countLinks(picture: Picture): number {
  const known = new Set(picture.rowList.map((row) => row.row));
  return picture.rowList.reduce((sum, row) => sum + (row.cause >= 0 && known.has(row.cause) ? 1 : 0), 0);
}

export function draw(context: CanvasRenderingContext2D, scene: Scene): void {
  const { plan, picture, colors } = scene;
  const height = plan.lanes * plan.laneHeight;
  drawLanes(context, scene);
  const most = Math.max(2, Math.floor(plan.width / 110));
  const axis = plan.byRow
    ? rowAxis(plan.stretch.first, plan.stretch.stop, most)
    : timeAxis(plan.stretch.first, plan.stretch.stop, most, picture.origin === "0" ? undefined : "the first row");
  drawAxis(context, axis, plan.stretch, { ...plan, height }, colors, true);

  context.save();
  context.beginPath();
  context.rect(plan.left, 0, plan.width, plan.top + height);
  context.clip();
  const place = (at: number) => plan.left + toPixel(at, plan.stretch, plan.width);
  for (const lost of picture.lost) {
    const x = place(lost.first);
    hatch(context, x, plan.top, Math.max(place(lost.stop) - x, 4), height, scene.palette.failure.line);
  }
  drawShares(context, scene, height);
  if (picture.binned) drawCells(context, scene);
  drawRows(context, scene);
  drawMoments(context, scene, height);
  drawBrush(context, scene, height);
  context.restore();
}

function drawLanes(context: CanvasRenderingContext2D, scene: Scene): void {
  const { plan, picture, colors } = scene;
  context.textBaseline = "middle";
  context.font = `12px ${colors.font}`;
  picture.lanes.forEach((label, lane) => {
    const y = plan.top + lane * plan.laneHeight;
    if (lane % 2 === 0) {
      context.fillStyle = colors.raised;
      context.globalAlpha = 0.6;
      context.fillRect(0, y, plan.left + plan.width, plan.laneHeight);
      context.globalAlpha = 1;
    }
    context.fillStyle = colors.text;
    context.textAlign = "right";
    context.font = `${lane === scene.lane && scene.hasFocus ? "600 " : ""}12px ${colors.font}`;
    context.fillText(fitted(context, label, plan.left - 18), plan.left - 10, y + plan.laneHeight / 2);
    if (lane === scene.lane && scene.hasFocus) {
      context.fillStyle = colors.focus;
      context.fillRect(0, y + 3, 3, plan.laneHeight - 6);
    }
  });
  context.strokeStyle = colors.line;
  context.lineWidth = 1;
  context.strokeRect(crisp(plan.left), crisp(plan.top), plan.width, plan.lanes * plan.laneHeight);
}

/** Chosen rows of a binned picture: a band behind the bins that hold any. */
function drawShares(context: CanvasRenderingContext2D, scene: Scene, height: number): void {
  const { picture, plan } = scene;
  if (picture.bin_first === undefined) return;
  const first = picture.bin_first;
  context.fillStyle = scene.colors.chosen;
  context.strokeStyle = scene.colors.focus;
  let start = -1;
  let last = -2;
  const band = () => {
    if (start < 0) return;
    const x = plan.left + toPixel(first + start * picture.width, plan.stretch, plan.width);
    const end = plan.left + toPixel(first + (last + 1) * picture.width, plan.stretch, plan.width);
    const across = Math.max(end - x, 2);
    context.fillRect(x, plan.top, across, height);
    context.fillStyle = scene.colors.focus;
    context.fillRect(x, plan.top - 4, across, 3);
    context.fillStyle = scene.colors.chosen;
  };
  for (const { bin } of picture.shareList) {
    if (bin !== last + 1) {
      band();
      start = bin;
    }
    last = bin;
  }
  band();
}

function drawCells(context: CanvasRenderingContext2D, scene: Scene): void {
  const { picture, plan, palette } = scene;
  const most = Math.log1p(picture.cellList.reduce((sum, cell) => Math.max(sum, cell.count), 1));
  const pixels = (picture.width / (plan.stretch.stop - plan.stretch.first)) * plan.width;
  const failed: [number, number][] = [];
  // Least first, so that of two kinds on one side of a lane the smaller bar is not hidden behind the greater.
  const order = [...picture.cellList].sort((a, b) => b.count - a.count);
  for (const cell of order) {
    const look = lookOf(cell.kind);
    const [y, tall] = cellBox(cell, plan, most);
    const at = picture.bin_first! + cell.bin * picture.width;
    const x = plan.left + toPixel(at, plan.stretch, plan.width);
    context.fillStyle = palette[look.hue].fill;
    context.fillRect(x, y, Math.max(pixels, 1) + 0.3, tall);
    if (cell.failed > 0) failed.push([x + pixels / 2, look.side < 0 ? y : look.side > 0 ? y + tall : y + tall / 2]);
  }
  for (const [x, y] of failed) mark(context, "X", x, y, 4, palette.failure.fill, scene.colors.back, 0.8);
}

function cellBox(cell: Cell, plan: Plan, most: number): [number, number] {
  const side = lookOf(cell.kind).side;
  const tall = (0.06 + 0.38 * (Math.log1p(cell.count) / most)) * plan.laneHeight;
  const middle = plan.top + (cell.lane + 0.5) * plan.laneHeight;
  return [side > 0 ? middle : middle - tall, side === 0 ? 2 * tall : tall];
}

function drawRows(context: CanvasRenderingContext2D, scene: Scene): void {
  const { picture, plan, palette, colors } = scene;
  const size = picture.rowList.length <= 150 ? 4.5 : picture.rowList.length <= 1000 ? 3.5 : 2.8;
  const places = new Map<number, { x: number; y: number; row: Row }>();
  for (const row of picture.rowList) if (row.lane >= 0) places.set(row.row, { ...rowPlace(row, plan), row });
  if (!plan.byRow) {
    context.globalAlpha = 0.4;
    for (const { x, y, row } of places.values()) {
      const end = row.pending ? plan.left + plan.width
        : plan.left + toPixel(row.t + row.duration, plan.stretch, plan.width);
      if (end - x <= size || end < plan.left) continue;
      context.fillStyle = palette[lookOf(row.kind).hue].fill;
      const from = Math.max(x, plan.left);
      context.fillRect(from, y - size * 0.6, Math.min(end, plan.left + plan.width) - from, size * 1.2);
    }
    context.globalAlpha = 1;
  }
  drawLinks(context, scene, places);
  for (const { x, y, row } of places.values()) {
    if (x < plan.left - 8 || x > plan.left + plan.width + 8) continue;
    const look = lookOf(row.kind);
    const shade = palette[look.hue];
    if (row.chosen) ring(context, x, y, size + 4, colors.focus, colors.chosen);
    if (row.failed) mark(context, "X", x, y, size + 1, palette.failure.fill, colors.back, 0.8);
    else if (row.pending) mark(context, look.marker, x, y, size, colors.back, shade.line, 1.6);
    else mark(context, look.marker, x, y, size, shade.fill, shade.line, 0.8);
    if (row.row === scene.focused) ring(context, x, y, size + 6, colors.text, null);
  }
}

function drawLinks(
  context: CanvasRenderingContext2D,
  scene: Scene,
  places: Map<number, { x: number; y: number; row: Row }>,
): void {
  const all = countLinks(scene.picture) <= MOST_LINKS;
  context.lineWidth = 1;
  for (const { x, y, row } of places.values()) {
    const cause = row.cause >= 0 ? places.get(row.cause) : undefined;
    if (!cause) continue;
    const strong = row.chosen || cause.row.chosen || row.row === scene.focused || row.cause === scene.focused;
    if (!all && !strong) continue;
    context.strokeStyle = context.fillStyle = strong ? scene.colors.focus : scene.colors.dim;
    context.lineWidth = strong ? 1.8 : 1;
    context.globalAlpha = strong ? 1 : 0.7;
    arrow(context, cause.x, cause.y, x, y);
  }
  context.globalAlpha = 1;
}

function drawMoments(context: CanvasRenderingContext2D, scene: Scene, height: number): void {
  const { picture, plan, colors } = scene;
  context.font = `11px ${colors.font}`;
  context.textBaseline = "bottom";
  context.textAlign = "left";
  let free = -Infinity;
  for (const moment of picture.moments) {
    const x = crisp(plan.left + toPixel(moment.x, plan.stretch, plan.width));
    context.strokeStyle = colors.dim;
    context.setLineDash(moment.mark ? [5, 3] : [1, 3]);
    context.beginPath();
    context.moveTo(x, plan.top);
    context.lineTo(x, plan.top + height);
    context.stroke();
    const label = fitted(context, moment.label, 150);
    if (x + 2 < free) continue;
    context.fillStyle = moment.mark ? colors.text : colors.dim;
    context.fillText(label, x + 2, plan.top - 2);
    free = x + context.measureText(label).width + 12;
  }
  context.setLineDash([]);
}

function drawBrush(context: CanvasRenderingContext2D, scene: Scene, height: number): void {
  const { brush, plan, colors } = scene;
  if (!brush) return;
  const from = plan.left + toPixel(Math.min(brush.from, brush.to), plan.stretch, plan.width);
  const to = plan.left + toPixel(Math.max(brush.from, brush.to), plan.stretch, plan.width);
  const top = brush.lanes ? plan.top + brush.lanes[0] * plan.laneHeight : plan.top;
  const tall = brush.lanes ? (brush.lanes[1] - brush.lanes[0] + 1) * plan.laneHeight : height;
  context.globalAlpha = 0.18;
  context.fillStyle = colors.focus;
  context.fillRect(from, top, Math.max(to - from, 1), tall);
  context.globalAlpha = 1;
  context.strokeStyle = colors.focus;
  context.lineWidth = 1.5;
  context.setLineDash([4, 3]);
  context.strokeRect(from, top, Math.max(to - from, 1), tall);
  context.setLineDash([]);
}
