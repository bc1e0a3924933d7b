// The register panel: registers with their fields, live; edits are pokes, told of before they are made.
import { counted, hex } from "./hex";
import { definePanel, element, type Frame } from "./panel";
import { accessText, effectOf, fieldText, readWanted } from "./register_effect";
import { RegisterGrid, type Place } from "./register_grid";
import { rangeOf, readLayout, readValues, registersOf, type Register, type Values } from "./register_layout";
import { roving } from "./roving";

const NOTHING: Values = { value: [], changed: [], marked: [], known: [] };

function build(frame: Frame): void {
  const { sync, root } = frame;
  const grid = new RegisterGrid();
  let registers: Register[] = [];
  let values = NOTHING;
  let reasons: [number, number, string][] = [];
  let generation = -1;

  const filter = element("input", { type: "search", placeholder: "Filter", "aria-label": "Filter registers by name", size: 12 });
  const mark = element("button", { type: "button", title: "Mark what differs from now on (Δ)" }, "Mark");
  const undo = element("button", { type: "button", disabled: true }, "Undo");
  const undoWhy = element("span", { class: "hdv-dim", "data-testid": "undo-why" });
  const status = element("span", { class: "hdv-reg-status", "data-testid": "status" });
  const bar = element("div", { class: "hdv-bar" }, filter, mark, undo, undoWhy, element("span", { class: "hdv-spring" }), status);
  const body = element("div", { class: "hdv-reg-body" }, grid.root);
  const about = element("div", { class: "hdv-reg-about" });
  const input = element("input", { type: "text", "aria-label": "New value", size: 20, spellcheck: "false", autocomplete: "off" });
  const poke = element("button", { type: "button", title: "Past the bus to the device; a row with origin user" }, "Poke");
  const effect = element("div", { class: "hdv-reg-effect hdv-code", role: "status", "data-testid": "effect" });
  const edit = element("div", { class: "hdv-reg-edit" }, input, poke, effect);
  const detail = element("div", { class: "hdv-reg-detail", hidden: true }, about, edit);
  root.append(bar, body, detail);

  const cells = roving(grid.root, {
    cells: () => grid.cells(),
    onEnter: (cell) => {
      choose(grid.placeOf(cell));
      input.focus();
      input.select();
    },
  });

  const numberOf = (register: Register) => registers.indexOf(register);
  const valueOf = (register: Register): bigint | null => {
    const at = numberOf(register);
    return values.known[at] ? values.value[at]! : null;
  };
  const reason = (number: number) => reasons.find(([first, last]) => number >= first && number <= last)?.[2] ?? "not looked at yet";
  const where = ({ register, field }: Place) => ({
    device: register.device,
    bar: register.bar,
    offset: register.offset,
    field: field?.name ?? null,
  });

  function choose(place: Place | undefined): void {
    if (!place) return;
    mine(place);
    input.value = "";
    tellEffect();
    sync.send({ kind: "rows", ...where(place) });
  }

  function mine(place: Place): HTMLElement | null {
    const { device, bar: index, offset, field } = where(place);
    const cell = grid.choose(device, index, offset, field);
    detail.hidden = false;
    tellAbout();
    return cell;
  }

  function tellAbout(): void {
    const place = grid.chosen;
    detail.hidden = !place;
    if (!place) return;
    const { register, field } = place;
    const now = valueOf(register);
    const name = field ? `${register.name}.${field.name}` : register.name;
    const width = field ? `bits ${rangeOf(field.lsb, field.width)}` : `${register.width} bits at ${hex(register.offset)}`;
    const said = now === null ? reason(numberOf(register)) : field ? fieldText(field, now) : hex(now, register.width / 8);
    const facts = `${width} · ${accessText(field?.access ?? register.access)}`;
    about.replaceChildren(
      element("strong", {}, name), " ", element("span", { class: "hdv-code" }, said), " ",
      element("span", { class: "hdv-dim" }, facts),
      ...(field?.doc || register.doc ? [element("div", { class: "hdv-dim" }, field?.doc || register.doc)] : []),
      ...(field?.meanings.size ? [element("div", { class: "hdv-dim" }, [...field.meanings].map(([value, text]) => `${value} ${text}`).join(" · "))] : []),
    );
  }

  function tellEffect(): bigint | null {
    const place = grid.chosen;
    const text = input.value.trim();
    effect.classList.remove("hdv-error");
    if (!place || !text) {
      effect.textContent = place ? "Type a value to see what it does; Enter pokes it, Escape leaves." : "";
      poke.disabled = true;
      return null;
    }
    const wanted = readWanted(text, place.field);
    if (wanted === null) {
      const known = place.field?.meanings.size ? `, or ${[...place.field.meanings.values()].join(", ")}` : "";
      effect.textContent = `${text} is no number; write 12, 0x1f or 0b101${known}`;
      effect.classList.add("hdv-error");
      poke.disabled = true;
      return null;
    }
    const told = effectOf(place.register, place.field, valueOf(place.register), wanted);
    effect.textContent = told.notes.join("; ");
    effect.classList.toggle("hdv-error", told.warns);
    poke.disabled = told.poked === null;
    return told.poked === null ? null : wanted;
  }

  function doPoke(): void {
    const wanted = tellEffect();
    if (wanted === null || !grid.chosen) return;
    status.textContent = "poking…";
    sync.send({ kind: "poke", ...where(grid.chosen), value: wanted.toString(16) });
  }

  function show(): void {
    grid.update(values, reason);
    tellAbout();
    if (input.value) tellEffect();
  }

  frame.on(grid.root, "click", (event) => choose(grid.placeOf(event.target)));
  frame.on(grid.root, "dblclick", (event) => {
    if (!grid.placeOf(event.target)) return;
    input.focus();
  });
  frame.on(input, "input", () => tellEffect());
  frame.on(input, "keydown", (event) => {
    if (event.key === "Enter") doPoke();
    else if (event.key === "Escape") {
      input.value = "";
      tellEffect();
      grid.root.querySelector<HTMLElement>(".hdv-chosen")?.focus();
    }
  });
  frame.on(poke, "click", doPoke);
  frame.on(mark, "click", () => sync.send({ kind: "mark" }));
  frame.on(undo, "click", () => undo.getAttribute("aria-disabled") === "true" || sync.send({ kind: "undo" }));
  frame.on(filter, "input", () => {
    grid.filter(filter.value);
    cells.refresh();
  });

  sync.onData("layout", (told) => {
    generation = told.generation;
    const devices = readLayout(told);
    registers = registersOf(devices);
    values = NOTHING;
    grid.build(devices);
    grid.filter(filter.value);
    cells.refresh();
    const missing = told.wanted ? `No device ${told.wanted} is plugged in.` : "No device is plugged in.";
    status.textContent = devices.length ? (told.running ? "" : "machine off") : missing;
    show();
  });
  sync.onData("values", (told, [data]) => {
    if (told.generation !== generation || !data) return;
    values = readValues(data);
    reasons = told.reasons;
    undo.disabled = told.why_no_undo !== "";
    undo.title = told.why_no_undo || `Poke ${told.undo}; its write handler runs again`;
    undoWhy.textContent = told.undo && told.why_no_undo ? `cannot undo: ${told.why_no_undo}` : "";
    show();
  });
  sync.onData("poked", (told) => {
    const went = told.old === null || told.new === null ? "" : `0x${told.old} → 0x${told.new}, `;
    const row = told.row >= 0 ? `, row ${counted(told.row)}` : "";
    status.textContent = `${told.undo ? "undone: " : ""}${told.name}: ${went}${told.outcome}${row}`;
    status.classList.toggle("hdv-error", !told.ok);
    frame.announce(status.textContent);
    input.value = "";
    tellEffect();
  });
  sync.onData("rows", (told) => {
    status.textContent = `${counted(told.count)} ${told.count === 1 ? "row" : "rows"} touched ${told.name}`;
    status.classList.remove("hdv-error");
  });
  sync.onData("chosen", (told) => {
    const cell = grid.choose(told.device, told.bar, told.offset, null);
    if (cell) cell.scrollIntoView({ block: "nearest" });
    tellAbout();
  });
  sync.onData("waiting", (told) => {
    status.textContent = told.text;
    status.classList.toggle("hdv-error", told.text !== "");
  });
  sync.onData("failed", (told) => {
    status.textContent = told.text;
    status.classList.add("hdv-error");
    frame.announce(told.text);
    sync.send({ kind: "dismiss" });
  });
  frame.onShow(() => sync.send({ kind: "look" }));
  tellEffect();
}

export default definePanel({ name: "registers", label: "Registers" }, build);
