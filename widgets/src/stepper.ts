// The stepper: what is held, the driver's line that did it, buttons that let it go on, and the breakpoints.
import { definePanel, element, type Frame } from "./panel";
import { roving } from "./roving";

interface Stop {
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
  source: string;
  file: string;
  lines: [number, string][];
}

interface Breakpoint {
  number: number;
  what: string;
  text: string;
  state: string;
  enabled: boolean;
}

interface State {
  running: boolean;
  stops: Stop[];
  breakpoints: Breakpoint[];
}

const ACTIONS: [name: string, label: string, title: string][] = [
  ["continue", "▶ Continue", "Let what is held go on"],
  ["step", "⇥ Step", "Go on until the next access of any kind"],
  ["retry", "↻ Retry", "Have the device serve the access again, with its code as it is now"],
  ["skip", "↷ Skip", "Go on without asking the device: a read gets all ones, anything else is dropped"],
];

/** What the facts of a stop are, name and text. */
export function factsOf(stop: Stop): [string, string][] {
  const facts: [string, string][] = [];
  const add = (name: string, text: string) => text && facts.push([name, text]);
  add("because", stop.why);
  add("condition", stop.error && `failed, so it stopped: ${stop.error}`);
  add("value", `${stop.value}  ${stop.fields}`.trim());
  add("stored", stop.stored);
  add("posted", stop.posted ? "the guest does not wait for this write and has gone on" : "");
  add("inside", stop.inside ? "the device is in its own callback: it can be looked at, not reloaded or poked" : "");
  if (stop.row < 0) add("row", "none: recording is paused");
  return facts;
}

/** The source line and its neighbours; `line` is the one that does it. */
export function lineNumberOf(stop: Stop): number {
  return Number(/:(\d+)/.exec(stop.source)?.[1] ?? 0);
}

function build(frame: Frame): void {
  const { sync, root } = frame;
  let state: State = { running: false, stops: [], breakpoints: [] };
  let chosen = 0; // ticket
  let told = 0;

  const heading = element("strong", { class: "hdv-step-short", "data-testid": "short" }, "nothing is held");
  const which = element("select", { "aria-label": "Which stop", hidden: true });
  const top = element("div", { class: "hdv-bar" }, heading, element("span", { class: "hdv-spring" }), which);
  const facts = element("dl", { class: "hdv-step-facts hdv-code", "data-testid": "facts" });
  const source = element("ol", { class: "hdv-step-source hdv-code", "data-testid": "source", "aria-label": "The driver's lines" });
  const buttons = new Map(ACTIONS.map(([name, label, title]) => {
    const button = element("button", { type: "button", title, "data-action": name }, label);
    frame.on(button, "click", () => act(name));
    return [name, button];
  }));
  const value = element("input", { type: "text", "aria-label": "Value to go on with", placeholder: "0xff", size: 12, spellcheck: "false", autocomplete: "off" });
  const override = element("button", { type: "button", "data-action": "override", title: "Go on with this value instead" }, "Override");
  const actions = element("div", { class: "hdv-bar", role: "toolbar", "aria-label": "Go on" }, ...buttons.values(), value, override);

  const where = element("input", { type: "text", name: "where", "aria-label": "Where to stop: CTRL, CTRL.EN==1, bar0+0x10, dma, interrupt", placeholder: "CTRL, CTRL.EN==1, dma, interrupt", size: 24, spellcheck: "false", autocomplete: "off" });
  const when = element("input", { type: "text", name: "when", "aria-label": "Condition, a Python expression", placeholder: "when: value & 1", size: 16, spellcheck: "false", autocomplete: "off" });
  const access = element("select", { "aria-label": "Reads or writes" },
    element("option", { value: "rw" }, "reads and writes"), element("option", { value: "r" }, "reads"), element("option", { value: "w" }, "writes"));
  const after = element("select", { "aria-label": "Before or after the device answers" },
    element("option", { value: "" }, "before the device"), element("option", { value: "after" }, "after the device"));
  const add = element("button", { type: "button", "data-action": "break" }, "Break");
  const next = element("button", { type: "button", "data-action": "next", title: "Go on until the next access there" }, "Next");
  const form = element("div", { class: "hdv-bar hdv-step-form", role: "group", "aria-label": "Set a breakpoint" }, where, access, when, after, add, next);
  const list = element("ul", { class: "hdv-step-list", "aria-label": "Breakpoints", "data-testid": "breakpoints" });
  root.append(top, facts, source, actions, form, list);
  const moves = roving(list, { cells: () => [...list.children].map((line) => [...line.querySelectorAll("button")]), onEnter: (cell) => cell.click() });

  const stop = () => state.stops.find((one) => one.ticket === chosen) ?? state.stops[0];

  function act(action: string, more: Record<string, unknown> = {}): void {
    sync.send({ kind: "act", action, ticket: stop()?.ticket ?? null, ...more });
  }

  function show(): void {
    const held = stop();
    chosen = held?.ticket ?? 0;
    heading.textContent = held ? `❚❚ held at ${held.short}` : state.running ? "● nothing is held" : "○ the machine is off";
    root.classList.toggle("hdv-step-held", held !== undefined);
    which.hidden = state.stops.length < 2;
    which.replaceChildren(...state.stops.map((one) => element("option", { value: one.ticket, selected: one.ticket === chosen }, one.short)));
    facts.replaceChildren(...(held ? factsOf(held) : []).flatMap(([name, text]) => [element("dt", {}, name), element("dd", {}, text)]));
    facts.hidden = !held;
    const own = held ? lineNumberOf(held) : 0;
    source.replaceChildren(...(held?.lines ?? []).map(([number, text]) =>
      element("li", { value: number, class: number === own ? "hdv-step-own" : null, "aria-current": number === own ? "step" : null }, text || " ")));
    source.hidden = !held?.lines.length;
    if (held?.source && !held.lines.length) facts.append(element("dt", {}, "driver"), element("dd", {}, held.source));
    for (const [name, button] of buttons) {
      button.disabled = name === "step" ? !state.running : !held?.actions.includes(name);
    }
    const may = held?.actions.includes("override") ?? false;
    value.disabled = override.disabled = !may;
    if (held && held.ticket !== told) frame.announce(`held at ${held.short}`);
    else if (!held && told) frame.announce("nothing is held");
    told = held?.ticket ?? 0;
    list.replaceChildren(...state.breakpoints.map(line));
    moves.refresh();
  }

  function line(one: Breakpoint): HTMLElement {
    const ask = (kind: string) => () => sync.send({ kind, number: one.number });
    const toggle = element("button", { type: "button", "aria-pressed": `${one.enabled}`, "aria-label": `${one.what} ${one.number} matches` }, one.enabled ? "on" : "off");
    const remove = element("button", { type: "button", "aria-label": `Remove ${one.what} ${one.number}` }, "×");
    frame.on(toggle, "click", ask(one.enabled ? "disable" : "enable"));
    frame.on(remove, "click", ask("remove"));
    return element("li", { class: one.enabled ? null : "hdv-dim" }, toggle, remove,
      element("span", { class: "hdv-code" }, `${one.number}  ${one.text}`), element("span", { class: "hdv-dim" }, `${one.what}; ${one.state}`));
  }

  const ask = () => {
    if (!where.value.trim()) return where.focus();
    sync.send({ kind: "break", where: where.value.trim(), when: when.value.trim(), access: access.value, after: after.value === "after" });
    where.value = when.value = "";
  };
  const onEnter = (field: HTMLElement, handler: () => void) =>
    frame.on(field, "keydown", (event) => {
      if ((event as KeyboardEvent).key === "Enter") handler();
    });
  const doOverride = () => value.value.trim() && act("override", { value: value.value.trim() });
  frame.on(override, "click", doOverride);
  onEnter(value, doOverride);
  frame.on(add, "click", ask);
  onEnter(where, ask);
  onEnter(when, ask);
  frame.on(next, "click", () => (where.value.trim() ? act("next", { where: where.value.trim(), ticket: null }) : where.focus()));
  frame.on(which, "change", () => {
    chosen = Number(which.value);
    show();
  });
  sync.onData("state", (content) => {
    state = content as State;
    show();
  });
  sync.onData("waiting", ({ text }) => frame.announce(text));
  frame.onShow(() => sync.send({ kind: "look" }));
  show();
}

export default definePanel({ name: "stepper", label: "Stepper" }, build);
