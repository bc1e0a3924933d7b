// Colours of kinds and of counts on canvases. Kinds: Petroff's six hues in the shades of hdvlab/plots/theme.py, which
// stay apart in colour blindness; tests/widgets/test_timeline.py compares the two. Every kind has a marker too.

export type Marker = "o" | "s" | "<" | ">" | "D" | "P" | "X" | "|" | "d";

export interface Shade {
  fill: string;
  line: string;
}

export interface Palette {
  read: Shade;
  write: Shade;
  interrupt: Shade;
  doorbell: Shade;
  failure: Shade;
  other: Shade;
}

export const LIGHT: Palette = {
  read: { fill: "#5790fc", line: "#4080f5" },
  write: { fill: "#f89c20", line: "#d07800" },
  interrupt: { fill: "#7a21dd", line: "#5008b0" },
  doorbell: { fill: "#964a8b", line: "#84357a" },
  failure: { fill: "#e42536", line: "#c40f2b" },
  other: { fill: "#9c9ca1", line: "#77777d" },
};

export const DARK: Palette = {
  read: { fill: "#74abff", line: "#74abff" },
  write: { fill: "#f89c20", line: "#f89c20" },
  interrupt: { fill: "#9457f5", line: "#9457f5" },
  doorbell: { fill: "#b05fa3", line: "#b05fa3" },
  failure: { fill: "#f2404f", line: "#f2404f" },
  other: { fill: "#c4c4ca", line: "#c4c4ca" },
};

export interface Look {
  hue: keyof Palette;
  marker: Marker;
  /** -1 stands above the middle of the lane (reads), 1 below it (writes), 0 on it. */
  side: -1 | 0 | 1;
  name: string;
}

const OTHER: Look = { hue: "other", marker: "d", side: 0, name: "memory mapped or unmapped" };
const STEP: Look = { hue: "other", marker: "|", side: 0, name: "lifecycle" };
const DOORBELL: Look = { hue: "doorbell", marker: "P", side: 0, name: "doorbell" };

/** By number of the kind in hdvlab/trace/schema.py. */
const LOOKS: Record<number, Look> = {
  1: { hue: "read", marker: "o", side: -1, name: "read" },
  2: { hue: "write", marker: "s", side: 1, name: "write" },
  3: { hue: "read", marker: "o", side: -1, name: "read" },
  4: { hue: "write", marker: "s", side: 1, name: "write" },
  5: { hue: "read", marker: "<", side: -1, name: "DMA read" },
  6: { hue: "write", marker: ">", side: 1, name: "DMA write" },
  7: { hue: "interrupt", marker: "D", side: 0, name: "interrupt" },
  8: { ...DOORBELL, side: 1 },
  9: DOORBELL,
  10: DOORBELL,
  25: { hue: "failure", marker: "X", side: 0, name: "fault" },
};

export function lookOf(kind: number): Look {
  return LOOKS[kind] ?? (kind >= 15 && kind <= 23 ? STEP : OTHER);
}

/** Whether a colour as the browser writes it, rgb(…), is a dark one: what is drawn on it must be bright. */
export function isDark(color: string): boolean {
  const [red = 255, green = 255, blue = 255] = (color.match(/[\d.]+/g) ?? []).map(Number);
  return 0.2126 * red + 0.7152 * green + 0.0722 * blue < 110;
}

export type HeatName = "cividis" | "viridis";

// Ten samples of each map, evenly spaced, as matplotlib 3.11 gives them.
const HEAT: Record<HeatName, string[]> = {
  cividis: [
    "#00224e", "#123570", "#3b496c", "#575d6d", "#707173", "#8a8678", "#a59c74", "#c3b369", "#e1cc55", "#fee838",
  ],
  viridis: [
    "#440154", "#482878", "#3e4989", "#31688e", "#26828e", "#1f9e89", "#35b779", "#6ece58", "#b5de2b", "#fde725",
  ],
};

/**
 * 256 colours for few to many, as red, green, blue; many stands out from the page: dark on a light one, bright on a dark
 * one. On a dark page the end that would vanish in it is left out.
 */
export function heatColors(name: HeatName, dark: boolean): Uint8Array {
  const samples = HEAT[name].map((hex) => [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16)));
  const colors = new Uint8Array(256 * 3);
  for (let step = 0; step < 256; step++) {
    const share = dark ? 0.25 + (0.75 * step) / 255 : 1 - step / 255;
    const place = share * (samples.length - 1);
    const below = Math.min(Math.floor(place), samples.length - 2);
    for (let part = 0; part < 3; part++) {
      const one = samples[below]![part]!;
      const other = samples[below + 1]![part]!;
      colors[3 * step + part] = Math.round(one + (other - one) * (place - below));
    }
  }
  return colors;
}

/** Which of the 256 colours a count has, on a logarithmic scale from 1 to `most`. */
export function heatStep(count: number, most: number): number {
  if (count <= 0) return 0;
  return most <= 1 ? 255 : Math.round((Math.log(count) / Math.log(most)) * 255);
}
