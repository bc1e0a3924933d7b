import { expect, test } from "vitest";
import config from "../src/config";
import memory from "../src/memory";
import registers from "../src/registers";
import { KernelModel, Screen } from "./model";

const REGISTER = {
  name: "CTRL", offset: 0, width: 64, access: "rw", doc: "", reset: "0", write: "f1", w1c: "0", w1s: "0", rc: "0", wo: "0", reserved: "0",
  fields: [{ name: "RATE", lsb: 4, width: 4, access: "rw", meanings: {}, doc: "" }, { name: "EN", lsb: 0, width: 1, access: "rw", meanings: {}, doc: "" }],
};
const LAYOUT = { kind: "layout", generation: 1, wanted: null, running: true, devices: [{ name: "d", address: "00:01.0", bars: [{ bar: 0, registers: [REGISTER] }] }] };

function values(value: bigint, changed = 0n, known = 1): Uint8Array {
  const data = new DataView(new ArrayBuffer(25));
  data.setBigUint64(0, value, true);
  data.setBigUint64(8, changed, true);
  data.setUint8(24, known);
  return new Uint8Array(data.buffer);
}
const told = (generation = 1) => ({ kind: "values", generation, reasons: [], why_no_undo: "nothing was poked", undo: "" });

function open(panel: typeof registers) {
  const screen = new Screen();
  const model = new KernelModel();
  const el = document.createElement("div");
  document.body.append(el);
  const end = panel.render({ model, el });
  screen.show(true);
  const $ = <T extends HTMLElement>(selector: string) => el.querySelector<T>(selector)!;
  return { model, el, end, $ };
}

test("a view that comes on screen asks for all there is, and one that ends leaves nothing", () => {
  for (const panel of [registers, config, memory]) {
    const { model, el, end } = open(panel);
    expect(model.sent.map((one) => one.kind)).toEqual(["visible", "look"]);
    end();
    expect([model.listening, el.childElementCount]).toEqual([0, 0]);
  }
});

test("values are exact, changed bits have a sign and words, and those of another layout are not shown", () => {
  const { model, $, end } = open(registers);
  model.arrives(LAYOUT);
  model.arrives(told(), values(0x8000_0000_0000_0031n, 0x30n));
  expect($("[data-name='CTRL']").textContent).toBe("●0x8000000000000031");
  expect($("[data-name='CTRL.RATE']").getAttribute("aria-label")).toBe("CTRL.RATE 3, changed");
  expect($("[data-name='CTRL.EN']").getAttribute("aria-label")).toBe("CTRL.EN 1");
  model.arrives(told(7), values(0n));
  expect($("[data-name='CTRL']").textContent).toContain("8000000000000031");
  end();
});

test("one cell is the tab stop, Enter on a field edits it, its effect is told, and Escape pokes nothing", () => {
  const { model, el, $, end } = open(registers);
  model.arrives(LAYOUT);
  model.arrives(told(), values(0x31n));
  expect(el.querySelectorAll("[role=gridcell][tabindex='0']")).toHaveLength(1);
  const cell = $("[data-name='CTRL.RATE']");
  cell.focus();
  cell.dispatchEvent(new KeyboardEvent("keydown", { key: "Enter", bubbles: true }));
  expect(model.sent.at(-1)).toMatchObject({ kind: "rows", field: "RATE" });
  const input = $<HTMLInputElement>(".hdv-reg-edit input");
  expect(document.activeElement).toBe(input);
  input.value = "5";
  input.dispatchEvent(new Event("input"));
  expect($("[data-testid=effect]").textContent).toContain("→ 0x0000000000000051");
  input.dispatchEvent(new KeyboardEvent("keydown", { key: "Escape" }));
  expect(document.activeElement).toBe(cell);
  input.value = "5";
  input.dispatchEvent(new KeyboardEvent("keydown", { key: "Enter" }));
  expect(model.sent.filter((one) => one.kind === "poke")).toMatchObject([{ device: "d", bar: 0, offset: 0, field: "RATE", value: "5" }]);
  end();
});

test("what is no RAM is no byte, and has no value in an overlay", () => {
  const { model, el, $, end } = open(memory);
  model.arrives({ kind: "choices", regions: [], overlays: [{ name: "o", stride: 16, fields: [[0, 8, "addr"]], head: [], headSize: 0, doc: "" }], overlay: "o", at: "ffffffffffffffe0" });
  const flags = new Uint8Array(32);
  flags.fill(0x80, 16);
  model.arrives({ kind: "memory", address: "ffffffffffffffe0", size: 32, why: "", gaps: [[16, 16, "no RAM is here"]] }, new Uint8Array(32), flags);
  expect($("[data-at='15']").textContent).toBe("00");
  expect($("[data-at='16']").textContent).toBe("--");
  expect([...el.querySelectorAll("tbody td:last-child")].map((one) => one.textContent)).toEqual(["0x0", "—"]);
  expect($("[data-testid=gaps]").textContent).toBe("0xfffffffffffffff0 to 0xffffffffffffffff: no RAM is here");
  end();
});

test("a write to what cannot be written by one access is not offered", () => {
  const { model, $, end } = open(config);
  const item = (label: string, start: number, size: number, access: string) => ({ label, text: "", start, size, access, items: [] });
  const tree = [item("Class code", 9, 3, "ro"), item("Interrupt line", 60, 1, "rw")];
  model.arrives({ kind: "config", device: "d", address: "", devices: ["d"], why: "", is_vm: false, tree }, new Uint8Array(256), new Uint8Array(256));
  $("[role=treeitem]").click();
  expect($<HTMLInputElement>(".hdv-cfg-detail input").disabled).toBe(true);
  $("[data-at='60']").click();
  expect($("[aria-selected=true][role=treeitem]").textContent).toContain("Interrupt line");
  const input = $<HTMLInputElement>(".hdv-cfg-detail input");
  input.value = "0x100";
  input.dispatchEvent(new KeyboardEvent("keydown", { key: "Enter" }));
  expect(model.sent.some((one) => one.kind === "write")).toBe(false);
  input.value = "0x0b";
  input.dispatchEvent(new KeyboardEvent("keydown", { key: "Enter" }));
  expect(model.sent.at(-1)).toMatchObject({ kind: "write", device: "d", offset: 60, size: 1, value: "b" });
  end();
});
