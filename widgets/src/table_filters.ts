// The bar above the table: which rows, which row, follow.
import { element, type Frame } from "./panel";
import { glyphOf, GROUPS } from "./kinds";
import { parseNumber } from "./hex";
import { roving } from "./roving";

export type Filter = Record<string, string>;

export interface FilterBar {
  readonly root: HTMLElement;
  /** Whether the newest rows are followed. */
  follow(on: boolean): void;
}

export interface FilterActions {
  onFilter(filter: Filter): void;
  onJump(row: number): void;
  onFollow(on: boolean): void;
}

const WORDS = [...GROUPS, "failed", "pending"];
const DELAY_MS = 250; // after the last key, before the kernel is asked

export function filterBar(frame: Frame, actions: FilterActions): FilterBar {
  const id = `hdv-filter-${frame.view}`;
  const input = (name: string, label: string, placeholder: string, width: number) =>
    element("input", {
      "aria-label": label, placeholder, name, title: label, autocomplete: "off", spellcheck: "false",
      style: `width: ${width}ch`, "aria-describedby": `${id}-error`,
    });

  const kinds = WORDS.map((word) =>
    element("button", { type: "button", "data-kind": word, "aria-pressed": "false", title: `Only rows of kind ${word}` },
      `${word === "failed" ? "!" : word === "pending" ? "⧗" : glyphOf(word)} ${word}`),
  );
  const kindBar = element("div", { class: "hdv-kinds", role: "toolbar", "aria-label": "Kinds of rows" }, ...kinds);
  const device = element("select", { "aria-label": "Device", name: "device" }, element("option", { value: "" }, "all devices"));
  const registers = element("datalist", { id: `${id}-registers` });
  const register = input("register", "Register, field or address: CTRL, CTRL.EN==1, bar0+0x10..0x1f", "register or address", 20);
  register.setAttribute("list", registers.id);
  const value = input("value", "Value: 0x1f, 1..9, >=0x100, &0x80", "value", 12);
  const text = input("text", "Text in marks, faults, names and source lines", "text", 12);
  const clear = element("button", { type: "button", title: "Show all rows" }, "Clear");
  const jump = input("row", "Jump to a row", "row", 11);
  const follow = element("button", { type: "button", "aria-pressed": "true", title: "Show the newest rows (End)" }, "Follow");
  const error = element("div", { class: "hdv-error", id: `${id}-error`, role: "alert" });
  const fields: Record<string, HTMLInputElement | HTMLSelectElement> = { device, register, value, text };

  const current = (): Filter => ({
    kind: kinds.filter((one) => one.ariaPressed === "true").map((one) => one.dataset["kind"]).join(" "),
    ...Object.fromEntries(Object.entries(fields).map(([name, one]) => [name, one.value.trim()])),
  });
  const told = (name: string, text: string) => {
    error.textContent = text;
    for (const [field, one] of Object.entries(fields)) one.setAttribute("aria-invalid", String(field === name));
  };
  let timer = 0;
  const ask = (delay = 0) => {
    clearTimeout(timer);
    timer = window.setTimeout(() => actions.onFilter(current()), delay);
  };
  const press = (button: HTMLElement) => {
    button.ariaPressed = String(button.ariaPressed !== "true");
    ask();
  };

  for (const button of kinds) frame.on(button, "click", () => press(button));
  roving(kindBar, { cells: () => [kinds], onEnter: press });
  frame.on(device, "change", () => ask());
  for (const one of [register, value, text]) {
    frame.on(one, "input", () => ask(DELAY_MS));
    frame.on(one, "keydown", (event) => event.key === "Enter" && ask());
  }
  frame.on(clear, "click", () => {
    for (const one of kinds) one.ariaPressed = "false";
    for (const one of Object.values(fields)) one.value = "";
    ask();
  });
  frame.on(jump, "keydown", (event) => {
    if (event.key !== "Enter") return;
    const row = parseNumber(jump.value.replaceAll(",", ""));
    jump.setAttribute("aria-invalid", String(row === null));
    if (row === null) error.textContent = `${jump.value} is no row number`;
    else actions.onJump(Number(row));
  });
  frame.on(follow, "click", () => actions.onFollow(follow.ariaPressed !== "true"));
  frame.onEnd(() => clearTimeout(timer));

  frame.sync.onData("names", ({ devices, registers: names }: { devices: string[]; registers: string[] }) => {
    const chosen = device.value;
    device.replaceChildren(element("option", { value: "" }, "all devices"), ...devices.map((one) => element("option", { value: one }, one)));
    device.value = devices.includes(chosen) ? chosen : "";
    registers.replaceChildren(...names.map((one) => element("option", { value: one })));
  });
  frame.sync.onData("filter", ({ filter }: { filter: Filter }) => {
    told("", "");
    const words = filter["kind"]!.split(/[\s,]+/);
    for (const one of kinds) one.ariaPressed = String(words.includes(one.dataset["kind"]!));
    for (const [name, one] of Object.entries(fields)) {
      if (one instanceof HTMLSelectElement && ![...one.options].some((option) => option.value === filter[name])) {
        one.append(element("option", { value: filter[name] }, filter[name]!));
      }
      if (document.activeElement !== one) one.value = filter[name]!;
    }
  });
  frame.sync.onData("refused", ({ view, name, text: why }) => view === frame.view && told(name, why));

  const root = element("div", { class: "hdv-bar" },
    kindBar, device, register, registers, value, text, clear, element("span", { class: "hdv-spring" }), jump, follow, error);
  return { root, follow: (on) => void (follow.ariaPressed = String(on)) };
}
