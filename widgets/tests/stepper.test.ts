import { expect, test } from "vitest";
import stepper from "../src/stepper";
import { factsOf, headOf, isOffered, NOTHING, placeOf, type State, type Stop } from "../src/stepper_words";
import { KernelModel, Screen } from "./model";

const STOP: Stop = {
  ticket: 7, row: 1234, short: "breakpoint 1: d.CTRL write 0x3, before the device", phase: "before", value: "0x3", fields: "EN=1", stored: "0x0",
  why: "CTRL writes", error: "", posted: false, inside: false, actions: ["continue", "step", "override", "skip"],
  function: "driver", file: "Cell In[2]", line: 5, lines: [[4, "bar = 1"], [5, "bar.CTRL.write(3)"]], rows: ["row 1233  mmio read"],
};
const POINT = { number: 1, what: "breakpoint", text: "CTRL writes", state: "1 hit, 1 stop", enabled: true };
const state = (more: Partial<State> = {}): State => ({ ...NOTHING, running: true, ...more });

function open() {
  new Screen();
  const model = new KernelModel();
  const el = document.body.appendChild(document.createElement("div"));
  const end = stepper.render({ model, el });
  const $ = <T extends HTMLElement>(selector: string) => el.querySelector<T>(selector)!;
  return { model, end, $, arrives: (more: Partial<State>) => model.arrives({ kind: "state", ...state(more) }) };
}

test("the head says what is held, what is awaited, or that nothing is", () => {
  expect(headOf(state(), STOP)[1]).toBe("d.CTRL write 0x3, before the device");
  expect(headOf(state({ awaits: "CTRL" }), undefined)[1]).toBe("goes on until CTRL");
  expect(headOf(state(), undefined)[1]).toBe("nothing is held");
  expect(headOf(NOTHING, undefined)[1]).toBe("the machine is off");
});

test("facts and the driver's place leave out what is not known", () => {
  expect(factsOf(STOP).map(([name]) => name)).toEqual(["held by", "value", "stored", "row"]);
  expect(factsOf({ ...STOP, short: "a step: d", row: -1, posted: true, value: "", fields: "" })).toContainEqual(["row", "none: recording is paused"]);
  expect(placeOf(STOP)).toBe("driver, Cell In[2] line 5");
  expect(placeOf({ ...STOP, function: "", file: "", line: 0 })).toBe("");
});

test("only what makes sense for a stop is offered", () => {
  const held = state({ stops: [STOP] });
  expect(["continue", "step", "retry", "skip", "all", "cancel"].filter((name) => isOffered(name, held, STOP))).toEqual(["continue", "step", "skip"]);
  expect(isOffered("all", state({ stops: [STOP, STOP] }), STOP)).toBe(true);
  expect(isOffered("cancel", state({ awaits: "CTRL" }), undefined)).toBe(true);
});

test("a button that is not offered asks for nothing, and one that is keeps the focus when it no longer is", () => {
  const { model, $, end, arrives } = open();
  arrives({ stops: [STOP] });
  const go = $<HTMLButtonElement>("[data-action=continue]");
  $("[data-action=retry]").click();
  expect(model.sent).toEqual([]);
  go.focus();
  go.click();
  expect(model.sent).toEqual([{ kind: "act", action: "continue", ticket: 7 }]);
  arrives({ over: "driver: returned 3" });
  expect(document.activeElement).toBe(go);
  expect([go.getAttribute("aria-disabled"), $("[data-testid=over]").textContent]).toEqual(["true", "driver: returned 3"]);
  end();
});

test("of several stops the chosen one stays chosen, and gets the value", () => {
  const { model, $, end, arrives } = open();
  arrives({ stops: [STOP, { ...STOP, ticket: 8 }] });
  const which = $<HTMLSelectElement>("select");
  which.value = "8";
  which.dispatchEvent(new Event("change"));
  arrives({ stops: [STOP, { ...STOP, ticket: 8 }], breakpoints: [POINT] });
  const value = $<HTMLInputElement>("[aria-label^='Value']");
  value.value = "EN=1";
  value.dispatchEvent(new KeyboardEvent("keydown", { key: "Enter" }));
  expect(model.sent).toEqual([{ kind: "choose", ticket: 8 }, { kind: "act", action: "override", ticket: 8, value: "EN=1" }]);
  expect($("[aria-current=step]").textContent).toBe("bar.CTRL.write(3)");
  end();
});

test("the list of breakpoints keeps its elements, and the focus when one goes", () => {
  const { model, $, end, arrives } = open();
  arrives({ breakpoints: [POINT, { ...POINT, number: 2 }] });
  const remove = $<HTMLButtonElement>("[aria-label='Remove breakpoint 2']");
  remove.focus();
  arrives({ breakpoints: [{ ...POINT, enabled: false }, { ...POINT, number: 2, state: "2 hits" }] });
  expect(document.activeElement).toBe(remove);
  $("[aria-label='breakpoint 1 is on']").click();
  expect(model.sent).toEqual([{ kind: "enable", number: 1 }]);
  arrives({ breakpoints: [POINT] });
  expect(document.activeElement!.getAttribute("aria-label")).toBe("Remove breakpoint 1");
  arrives({});
  expect(document.activeElement!.getAttribute("aria-label")).toContain("Where to stop");
  end();
});
