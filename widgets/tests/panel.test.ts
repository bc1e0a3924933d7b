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

test("letters typed into a panel are not the notebook's shortcuts", () => {
  new Screen();
  const el = document.createElement("div");
  definePanel({ name: "test", label: "Test" }, () => {}).render({ model: new KernelModel(), el });
  expect(el.querySelector("section")!.dataset["lmSuppressShortcuts"]).toBe("true");
});
