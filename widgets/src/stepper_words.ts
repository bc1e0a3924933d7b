// What the stepper knows and says: the kernel's messages, and their words.

export interface Stop {
  ticket: number;
  row: number;
  short: string;
  phase: string;
  value: string;
  fields: string;
  stored: string;
  why: string;
  error: string;
  posted: boolean;
  inside: boolean;
  actions: string[];
  /** The driver's line: its function, file or cell, number (0 = not known), and it with its neighbours. */
  function: string;
  file: string;
  line: number;
  lines: [number: number, text: string][];
  /** The rows before it. */
  rows: string[];
}

export interface Breakpoint {
  number: number;
  what: string;
  text: string;
  state: string;
  enabled: boolean;
}

export interface State {
  running: boolean;
  stops: Stop[];
  breakpoints: Breakpoint[];
  /** What is to stop next; empty = nothing was asked for. */
  awaits: string;
  /** What has ended since something was let go. */
  over: string;
}

export const NOTHING: State = { running: false, stops: [], breakpoints: [], awaits: "", over: "" };

/** Glyph and words for the head of the panel. */
export function headOf(state: State, held: Stop | undefined): [glyph: string, words: string] {
  if (held) return ["❚❚", held.short.replace(/^breakpoint (\d+): /, "").replace(/^a step: /, "")];
  if (!state.running) return ["○", "the machine is off"];
  if (state.awaits) return ["▶", `goes on until ${state.awaits}`];
  return ["●", "nothing is held"];
}

/** What the facts of a stop are, name and text. */
export function factsOf(stop: Stop): [string, string][] {
  const facts: [string, string][] = [];
  const add = (name: string, text: string) => text && facts.push([name, text]);
  add("held by", stop.short.startsWith("breakpoint") ? `${/^breakpoint \d+/.exec(stop.short)![0]}: ${stop.why}` : "a step");
  add("condition", stop.error && `failed, so it stopped: ${stop.error}`);
  add("value", `${stop.value}  ${stop.fields}`.trim());
  add("stored", stop.stored);
  add("posted", stop.posted ? "the guest does not wait for this write and has gone on" : "");
  add("inside", stop.inside ? "the device is in its own callback: it can be looked at, not reloaded or poked" : "");
  add("row", stop.row < 0 ? "none: recording is paused" : stop.row.toLocaleString("en"));
  return facts;
}

/** Where the driver's line is: `main, Cell In[3] line 5`; empty where nobody knows it. */
export function placeOf(stop: Stop): string {
  const file = [stop.file, stop.line ? `line ${stop.line}` : ""].filter(Boolean).join(" ");
  return [stop.function, file].filter(Boolean).join(", ");
}

/** Whether a button may be used now. */
export function isOffered(action: string, state: State, held: Stop | undefined): boolean {
  if (action === "step") return state.running;
  if (action === "cancel") return state.awaits !== "";
  if (action === "all") return state.stops.length > 1;
  return held?.actions.includes(action) ?? false;
}
