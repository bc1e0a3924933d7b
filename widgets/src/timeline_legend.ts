// Which marker is what, for the kinds that are in the picture.
import { sized } from "./chart";
import { mark } from "./markers";
import { lookOf, type Look, type Palette } from "./palette";
import { element } from "./panel";
import type { Picture } from "./timeline_data";

type Paint = (context: CanvasRenderingContext2D) => void;

export class Legend {
  readonly list = element("div", { class: "hdv-legend" });
  private shown = "";

  draw(picture: Picture, palette: Palette, back: string, linked: boolean): void {
    const looks = new Map<string, Look>();
    for (const { kind, lane } of [...picture.cellList, ...picture.rowList]) {
      if (lane >= 0) looks.set(lookOf(kind).name, lookOf(kind));
    }
    const entries: [string, Paint][] = [...looks.keys()].sort().map((name) => {
      const { hue, marker } = looks.get(name)!;
      return [name, (context) => mark(context, marker, 7, 7, 4, palette[hue].fill, palette[hue].line, 0.8)];
    });
    if (picture.rowList.some((row) => row.failed) || picture.cellList.some((cell) => cell.failed)) {
      entries.push(["failed", (context) => mark(context, "X", 7, 7, 5, palette.failure.fill, back, 0.8)]);
    }
    if (picture.rowList.some((row) => row.pending)) {
      entries.push(["pending", (context) => mark(context, "o", 7, 7, 4, back, palette.read.line, 1.6)]);
    }
    const key = `${entries.map(([name]) => name).join()} ${linked} ${back} ${devicePixelRatio}`;
    if (key === this.shown) return;
    this.shown = key;
    this.list.replaceChildren(
      ...entries.map(([name, paint]) => {
        const canvas = element("canvas", { "aria-hidden": "true" });
        paint(sized(canvas, 14, 14));
        return element("span", {}, canvas, name);
      }),
      ...(linked ? [element("span", {}, "→ caused")] : []),
    );
  }
}
