// The trace table.
import { definePanel, element } from "./panel";

export default definePanel({ name: "table", label: "Trace table" }, (frame) => {
  frame.root.append(element("div", { class: "hdv-bar" }, "Trace"));
});
