import { expect, test } from "vitest";
import { definePanel } from "../src/panel";
import { KernelModel, Screen } from "./model";

test("the kernel is told when a view is seen and when it is not", () => {
  const screen = new Screen();
  const model = new KernelModel();
  const { render } = definePanel({ name: "test", label: "Test" }, () => {});
  const end = render({ model, el: document.createElement("div") });
  expect(model.sent).toEqual([]);
  screen.show(true);
  screen.show(true);
  screen.show(false);
  expect(model.sent.map(({ kind, on }) => [kind, on])).toEqual([["visible", true], ["visible", false]]);
  screen.show(true);
  end();
  expect(model.sent.map(({ on }) => on)).toEqual([true, false, true, false]);
});

test("a view that ends leaves nothing on the model, on the page or on the element", () => {
  const screen = new Screen();
  const model = new KernelModel();
  const el = document.createElement("div");
  let clicks = 0;
  const { render } = definePanel({ name: "test", label: "Test" }, (frame) => {
    frame.sync.onChange("x", () => {});
    frame.on(document, "click", () => clicks++);
  });
  const end = render({ model, el });
  document.dispatchEvent(new Event("click"));
  end();
  end();
  document.dispatchEvent(new Event("click"));
  screen.show(true);
  expect([model.listening, el.childElementCount, clicks, model.sent.length]).toEqual([0, 0, 1, 0]);
});

test("every panel on a page has a name of its own, and gives it back", () => {
  new Screen();
  const el = document.createElement("div");
  const { render } = definePanel({ name: "test", label: "Only" }, () => {});
  const ends = [1, 2, 3].map(() => render({ model: new KernelModel(), el }));
  const names = () => [...el.querySelectorAll("section")].map((one) => one.getAttribute("aria-label"));
  expect(names()).toEqual(["Only", "Only 2", "Only 3"]);
  ends[1]!();
  render({ model: new KernelModel(), el });
  expect(names()).toEqual(["Only", "Only 3", "Only 2"]);
});

test("letters typed into a panel are not the notebook's shortcuts, and Ctrl+S is", () => {
  new Screen();
  const el = document.body.appendChild(document.createElement("div"));
  const inner = document.createElement("div");
  definePanel({ name: "test", label: "Test" }, (frame) => frame.root.append(inner)).render({ model: new KernelModel(), el });
  const keys: string[] = [];
  document.addEventListener("keydown", (event) => keys.push(event.key));
  inner.dispatchEvent(new KeyboardEvent("keydown", { key: "x", bubbles: true }));
  inner.dispatchEvent(new KeyboardEvent("keydown", { key: "s", ctrlKey: true, bubbles: true }));
  expect(keys).toEqual(["s"]);
  expect(el.querySelector("section")!.dataset["lmSuppressShortcuts"]).toBe("true");
});
