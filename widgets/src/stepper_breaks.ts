// The stepper's breakpoints: a form that sets one, and the list of those that are set.
import { element, type Frame } from "./panel";
import { roving } from "./roving";
import type { Breakpoint } from "./stepper_words";

const WHERE = "CTRL, CTRL.EN==1, bar0+0x10, dma, interrupt";

interface Line {
  item: HTMLElement;
  toggle: HTMLButtonElement;
  remove: HTMLButtonElement;
  text: HTMLElement;
  state: HTMLElement;
}

export interface Breaks {
  readonly root: HTMLElement;
  show(breakpoints: Breakpoint[]): void;
}

export function breaksOf(frame: Frame): Breaks {
  const { sync } = frame;
  const text = (label: string, placeholder: string, size: number) =>
    element("input", { type: "text", "aria-label": label, title: label, placeholder, size, spellcheck: "false", autocomplete: "off" });
  const where = text(`Where to stop: ${WHERE}`, "where: CTRL, CTRL.EN==1, dma", 28);
  const when = text("Condition, a Python expression on value, old, offset, fields and registers", "when: value & 1", 18);
  const access = element("select", { "aria-label": "Reads or writes" },
    element("option", { value: "rw" }, "reads and writes"), element("option", { value: "r" }, "reads"), element("option", { value: "w" }, "writes"));
  const after = element("select", { "aria-label": "Before or after the device answers" },
    element("option", { value: "" }, "before the device"), element("option", { value: "after" }, "after the device"));
  const once = element("input", { type: "checkbox" });
  const add = element("button", { type: "button", "data-action": "break", title: "Stop at every such access" }, "Break");
  const next = element("button", { type: "button", "data-action": "next", title: "Go on until the next access there" }, "Next");
  const form = element("div", { class: "hdv-bar hdv-step-form", role: "group", "aria-label": "Set a breakpoint" },
    where, access, after, when, element("label", { class: "hdv-step-once" }, once, "once"), add, next);
  const list = element("ul", { class: "hdv-step-list", "aria-label": "Breakpoints", "data-testid": "breakpoints" });
  const lines = new Map<number, Line>();
  const end = new AbortController();
  frame.onEnd(() => end.abort());
  const moves = roving(list, {
    cells: () => [...lines.values()].map((line) => [line.toggle, line.remove]),
    onEnter: (cell) => cell.click(),
  }, end.signal);

  const asked = () => {
    if (!where.value.trim()) where.focus();
    return where.value.trim();
  };
  const set = () => {
    if (!asked()) return;
    sync.send({ kind: "break", where: asked(), when: when.value.trim(), access: access.value, after: after.value === "after", once: once.checked });
    where.value = when.value = "";
  };
  for (const field of [where, when]) frame.on(field, "keydown", (event) => event.key === "Enter" && set());
  frame.on(add, "click", set);
  frame.on(next, "click", () => asked() && sync.send({ kind: "act", action: "next", where: asked() }));

  function made(number: number): Line {
    const line = {
      item: element("li"),
      toggle: element("button", { type: "button", class: "hdv-step-toggle" }),
      remove: element("button", { type: "button", title: "Remove" }, "×"),
      text: element("span", { class: "hdv-code" }),
      state: element("span", { class: "hdv-dim" }),
    };
    line.item.append(line.toggle, line.text, line.state, line.remove);
    frame.on(line.toggle, "click", () => sync.send({ kind: line.toggle.getAttribute("aria-pressed") === "true" ? "disable" : "enable", number }));
    frame.on(line.remove, "click", () => sync.send({ kind: "remove", number }));
    return line;
  }

  /** Lines stay the elements that they are: whoever is on one with the keyboard stays there. */
  function show(breakpoints: Breakpoint[]): void {
    const gone = [...lines.keys()].filter((number) => !breakpoints.some((one) => one.number === number));
    for (const number of gone) {
      const hadFocus = lines.get(number)!.item.contains(document.activeElement);
      lines.get(number)!.item.remove();
      lines.delete(number);
      if (hadFocus) ([...lines.values()].at(-1)?.remove ?? where).focus();
    }
    for (const one of breakpoints) {
      if (!lines.has(one.number)) {
        lines.set(one.number, made(one.number));
        list.append(lines.get(one.number)!.item);
      }
      const line = lines.get(one.number)!;
      line.item.classList.toggle("hdv-step-off", !one.enabled);
      line.toggle.textContent = one.enabled ? "on" : "off";
      line.toggle.setAttribute("aria-pressed", `${one.enabled}`);
      line.toggle.setAttribute("aria-label", `${one.what} ${one.number} is on`);
      line.remove.setAttribute("aria-label", `Remove ${one.what} ${one.number}`);
      line.text.textContent = `${one.number}  ${one.text}`;
      line.state.textContent = `${one.what}; ${one.state}`;
    }
    list.hidden = lines.size === 0;
    moves.refresh();
  }

  show([]);
  return { root: element("div", { class: "hdv-step-breaks" }, form, list), show };
}
