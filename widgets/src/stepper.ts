// The stepper: what is held, the driver's line that did it, buttons that let it go on, and the breakpoints.
import { definePanel, element, type Frame } from "./panel";
import { roving } from "./roving";
import { breaksOf } from "./stepper_breaks";
import { factsOf, headOf, isOffered, NOTHING, placeOf, type State, type Stop } from "./stepper_words";

const ACTIONS: [name: string, sign: string, label: string, title: string][] = [
  ["continue", "▶", "Continue", "Let it go on"],
  ["all", "▶▶", "Continue all", "Let everything that is held go on"],
  ["step", "⇥", "Step", "Go on until the next access of any kind"],
  ["retry", "↻", "Retry", "Have the device serve the access again, with its code as it is now"],
  ["skip", "»", "Skip", "Go on without asking the device: a read gets all ones, anything else is dropped"],
  ["cancel", "■", "Cancel", "Do not stop at the next access after all"],
];

function build(frame: Frame): void {
  const { sync, root } = frame;
  let state: State = NOTHING;
  let chosen = 0; // ticket
  let told = 0;

  const glyph = element("span", { class: "hdv-step-glyph", "aria-hidden": "true" });
  const heading = element("strong", { class: "hdv-step-short", "data-testid": "short" });
  const which = element("select", { "aria-label": "Which of what is held", hidden: true });
  const over = element("div", { class: "hdv-step-over hdv-dim", "data-testid": "over", hidden: true });
  const top = element("div", { class: "hdv-bar hdv-step-head" }, glyph, heading, element("span", { class: "hdv-spring" }), which);
  const facts = element("dl", { class: "hdv-step-facts hdv-code", "data-testid": "facts" });
  const rows = element("ol", { class: "hdv-step-rows hdv-code hdv-dim", "aria-label": "The rows before it", "data-testid": "rows" });
  const place = element("div", { class: "hdv-step-place hdv-dim", "data-testid": "place" });
  const source = element("ol", { class: "hdv-step-source hdv-code", "data-testid": "source", "aria-label": "The driver's lines" });
  const driver = element("div", { class: "hdv-step-driver" }, place, source);
  const stopped = element("div", { class: "hdv-step-stop" }, element("div", {}, facts, rows), driver);
  const buttons = new Map(ACTIONS.map(([name, sign, label, title]) => {
    const button = element("button", { type: "button", title, "data-action": name }, element("span", { "aria-hidden": "true" }, `${sign} `), label);
    // Not `disabled`: whoever presses it by keyboard stays on it.
    frame.on(button, "click", () => isOffered(name, state, stop()) && act(name));
    return [name, button];
  }));
  const value = element("input", { type: "text", "aria-label": "Value to go on with: 0x1f, or a field: EN=1", placeholder: "0x1f or EN=1", size: 14, spellcheck: "false", autocomplete: "off" });
  const override = element("button", { type: "button", "data-action": "override", title: "Go on with this value instead" }, "Override");
  const tools = element("div", { class: "hdv-step-tools", role: "toolbar", "aria-label": "Go on" }, ...buttons.values());
  const actions = element("div", { class: "hdv-bar" }, tools, element("span", { class: "hdv-step-tools" }, value, override));
  const breaks = breaksOf(frame);
  root.append(top, stopped, over, actions, breaks.root);
  const end = new AbortController();
  frame.onEnd(() => end.abort());
  const moves = roving(tools, { cells: () => [[...buttons.values()].filter((one) => !one.hidden)], onEnter: (cell) => cell.click() }, end.signal);

  const stop = () => state.stops.find((one) => one.ticket === chosen) ?? state.stops[0];

  function act(action: string, more: Record<string, unknown> = {}): void {
    const ticket = stop()?.ticket ?? null;
    if (action === "all") sync.send({ kind: "act", action: "continue" });
    else sync.send({ kind: "act", action, ticket, ...more });
  }

  function showStop(held: Stop | undefined): void {
    stopped.hidden = !held;
    if (!held) return;
    facts.replaceChildren(...factsOf(held).flatMap(([name, text]) => [element("dt", {}, name), element("dd", {}, text)]));
    rows.replaceChildren(...held.rows.map((text) => element("li", {}, text)));
    rows.hidden = !held.rows.length;
    place.textContent = placeOf(held) || "the driver's line is not known";
    source.replaceChildren(...held.lines.map(([number, text]) => element("li", {
      value: number, class: number === held.line ? "hdv-step-own" : null, "aria-current": number === held.line ? "step" : null,
    }, text || " ")));
    source.hidden = !held.lines.length;
  }

  function showButtons(held: Stop | undefined): void {
    for (const [name, button] of buttons) {
      const may = isOffered(name, state, held);
      button.setAttribute("aria-disabled", `${!may}`);
      if (name !== "all" && name !== "cancel") continue;
      if (!may && document.activeElement === button) buttons.get("step")!.focus();
      button.hidden = !may;
    }
    const may = held?.actions.includes("override") ?? false;
    value.disabled = !may;
    override.setAttribute("aria-disabled", `${!may}`);
    moves.refresh();
  }

  function show(): void {
    const held = stop();
    chosen = held?.ticket ?? 0;
    const [sign, words] = headOf(state, held);
    glyph.textContent = sign;
    heading.textContent = words;
    root.classList.toggle("hdv-step-held", held !== undefined);
    root.classList.toggle("hdv-step-goes", !held && state.running);
    which.hidden = state.stops.length < 2;
    which.replaceChildren(...state.stops.map((one, n) =>
      element("option", { value: one.ticket, selected: one.ticket === chosen }, `${n + 1} of ${state.stops.length}: ${one.short}`)));
    over.textContent = state.over;
    over.hidden = !state.over;
    showStop(held);
    showButtons(held);
    breaks.show(state.breakpoints);
    const now = held?.ticket ?? 0;
    if (now !== told) frame.announce(held ? `held at ${held.short}` : state.over || "nothing is held");
    told = now;
  }

  const doOverride = () => {
    if (value.disabled) return;
    if (value.value.trim()) act("override", { value: value.value.trim() });
    else value.focus();
  };
  frame.on(override, "click", doOverride);
  frame.on(value, "keydown", (event) => event.key === "Enter" && doOverride());
  frame.on(which, "change", () => {
    chosen = Number(which.value);
    sync.send({ kind: "choose", ticket: chosen });
    show();
  });
  sync.onData("state", (content) => {
    state = content as State;
    show();
  });
  sync.onData("waiting", ({ text }) => {
    over.textContent = text || state.over;
    over.hidden = !over.textContent;
  });
  frame.onShow(() => sync.send({ kind: "look" }));
  show();
}

export default definePanel({ name: "stepper", label: "Stepper" }, build);
