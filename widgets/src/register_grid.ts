// The registers as a grid: one row each, its value and its fields as a bit-field row.
import { hex } from "./hex";
import { element } from "./panel";
import { accessText, fieldText } from "./register_effect";
import { maskOf, rangeOf, segmentsOf, type Device, type Field, type Register, type Values } from "./register_layout";

/** A thing that can be chosen: a register's value, or a field. */
export interface Place {
  register: Register;
  field: Field | null;
}

interface Part {
  cell: HTMLElement;
  value: HTMLElement;
  field: Field | null;
}

interface Line {
  number: number;
  register: Register;
  row: HTMLElement;
  sign: HTMLElement;
  note: HTMLElement | null;
  parts: Part[];
}

/** Builds the rows and keeps them as the values say. */
export class RegisterGrid {
  readonly root = element("div", { class: "hdv-regs", role: "grid", "aria-label": "Registers" });
  private lines: Line[] = [];
  private places = new Map<HTMLElement, Place>();

  build(devices: Device[]): void {
    const held = this.chosen;
    this.lines = [];
    this.places.clear();
    this.root.replaceChildren();
    let number = 0;
    for (const device of devices) {
      for (const bar of device.bars) {
        if (!bar.registers.length) continue;
        const title = element("span", { role: "columnheader" }, `${device.name} `, element("span", { class: "hdv-dim" }, `bar${bar.bar} · ${device.address}`));
        this.root.append(element("div", { class: "hdv-reg-head", role: "row" }, title));
        for (const register of bar.registers) this.lines.push(this.line(number++, register));
      }
    }
    this.root.append(...this.lines.length ? [] : [element("div", { role: "row" }, element("span", { role: "gridcell", class: "hdv-dim" }, "no register is described"))]);
    if (held) this.choose(held.register.device, held.register.bar, held.register.offset, held.field?.name ?? null);
  }

  private line(number: number, register: Register): Line {
    const digits = register.width / 4;
    const value = element("span", { class: "hdv-reg-value hdv-code", style: `min-width: ${digits + 2}ch` });
    const sign = element("span", { class: "hdv-reg-sign" });
    const whole = element("span", { role: "gridcell", class: "hdv-reg-whole", tabindex: -1, "data-name": register.name }, sign, value);
    const parts: Part[] = [{ cell: whole, value, field: null }];
    this.places.set(whole, { register, field: null });
    const strip = element("span", { class: "hdv-reg-strip" });
    for (const segment of segmentsOf(register)) {
      const range = element("span", { class: "hdv-seg-bits" }, rangeOf(segment.lsb, segment.width));
      const field = segment.field;
      if (!field) {
        const title = `bits ${rangeOf(segment.lsb, segment.width)}: reserved, writes are dropped`;
        strip.append(element("span", { class: "hdv-seg hdv-seg-reserved", title, "aria-hidden": "true" }, range, element("span", {}, "·")));
        continue;
      }
      const shown = element("span", { class: "hdv-seg-value hdv-code" });
      const badge = field.access === "rw" ? [] : [element("span", { class: "hdv-seg-access" }, field.access)];
      const title = `${field.name}, bits ${rangeOf(field.lsb, field.width)}, ${accessText(field.access)}${field.doc ? `\n${field.doc}` : ""}`;
      const cell = element("span", { role: "gridcell", class: "hdv-seg", tabindex: -1, title, "data-name": `${register.name}.${field.name}` },
        element("span", { class: "hdv-seg-top" }, range, ...badge),
        element("span", {}, `${field.name} `, shown));
      parts.push({ cell, value: shown, field });
      this.places.set(cell, { register, field });
      strip.append(cell);
    }
    const note = parts.length === 1 ? element("span", { class: "hdv-reg-doc hdv-dim" }, register.doc) : null;
    if (note) strip.append(note);
    const head = element("span", { role: "rowheader", class: "hdv-reg-name", title: `${accessText(register.access)}${register.doc ? `\n${register.doc}` : ""}` }, register.name);
    const row = element("div", { role: "row", class: "hdv-reg" },
      element("span", { class: "hdv-code hdv-dim", role: "gridcell" }, hex(register.offset, 2)),
      head,
      element("span", { class: "hdv-reg-access hdv-dim", role: "gridcell" }, register.access),
      whole,
      element("span", { class: "hdv-reg-cell", role: "presentation" }, strip));
    this.root.append(row);
    return { number, register, row, sign, note, parts };
  }

  /** Shows values; `reason` says why one is not known. */
  update(values: Values, reason: (number: number) => string): void {
    for (const { number, register, sign, note, parts } of this.lines) {
      const known = values.known[number] ?? false;
      const value = values.value[number] ?? 0n;
      const changed = values.changed[number] ?? 0n;
      const marked = values.marked[number] ?? 0n;
      const text = changed ? "●" : marked ? "Δ" : "";
      if (sign.textContent !== text) sign.textContent = text;
      for (const { cell, value: shown, field } of parts) {
        const mask = field ? maskOf(field) : (1n << BigInt(register.width)) - 1n;
        const said = !known ? "?" : field ? fieldText(field, value) : hex(value, register.width / 8);
        if (shown.textContent !== said) shown.textContent = said;
        cell.classList.toggle("hdv-changed", known && (changed & mask) !== 0n);
        cell.classList.toggle("hdv-marked", known && (marked & mask) !== 0n);
        const state = !known ? `, ${reason(number)}` : changed & mask ? ", changed" : marked & mask ? ", differs from the mark" : "";
        const label = `${field ? `${register.name}.${field.name}` : register.name} ${said}${state}`;
        if (cell.getAttribute("aria-label") !== label) cell.setAttribute("aria-label", label);
      }
      if (note) note.textContent = known ? register.doc : reason(number);
    }
  }

  /** Rows of cells, for the arrow keys. */
  cells(): HTMLElement[][] {
    return this.lines.filter((one) => !one.row.hidden).map((one) => one.parts.map((part) => part.cell));
  }

  /** What a cell, or something in it, stands for. */
  placeOf(target: EventTarget | null): Place | undefined {
    const cell = (target as HTMLElement | null)?.closest<HTMLElement>('[role="gridcell"]');
    return cell ? this.places.get(cell) : undefined;
  }

  chosen: Place | null = null;

  /** Marks a place as chosen; the cell, or null where it is not there any more. */
  choose(device: string, bar: number, offset: number, field: string | null): HTMLElement | null {
    this.chosen = null;
    let found: HTMLElement | null = null;
    for (const [cell, place] of this.places) {
      const { register } = place;
      const is = register.device === device && register.bar === bar && register.offset === offset && (place.field?.name ?? null) === field;
      cell.classList.toggle("hdv-chosen", is);
      cell.setAttribute("aria-selected", `${is}`);
      if (is) [this.chosen, found] = [place, cell];
    }
    return found;
  }

  /** Shows only registers whose name, or a field's, has `text` in it. */
  filter(text: string): void {
    const word = text.trim().toLowerCase();
    for (const { register, row } of this.lines) {
      const names = [register.name, ...register.fields.map((field) => field.name)];
      row.hidden = !names.some((name) => name.toLowerCase().includes(word));
    }
  }
}
