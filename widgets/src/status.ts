// The status line: machine, VM and host, and a light that says whether rows are recorded.
import { counted } from "./hex";
import { definePanel, element, type Frame } from "./panel";

interface State {
  host: string;
  attached: boolean;
  machine: string;
  held: string;
  devices: string[];
  faults: number;
  rows: number;
  lost: number;
  rate: number;
  light: "on" | "paused" | "off";
  recording: string;
}

const LIGHTS = { on: "●", paused: "◐", off: "○" };

function build(frame: Frame): void {
  const { sync, root } = frame;
  const light = element("span", { class: "hdv-light", "aria-hidden": "true" }, LIGHTS.off);
  const recording = element("span", { "data-testid": "recording" });
  const rows = element("span", { class: "hdv-code", "data-testid": "rows" });
  const machine = element("span", { "data-testid": "machine" });
  const devices = element("span", { class: "hdv-dim" });
  const faults = element("span", { class: "hdv-error" });
  const held = element("div", { class: "hdv-status-held", hidden: true, "data-testid": "held" });
  root.append(element("div", { class: "hdv-bar" }, light, recording, rows, element("span", { class: "hdv-spring" }), faults, devices, machine), held);

  sync.onData("state", (content) => {
    const state = content as State;
    light.textContent = LIGHTS[state.light];
    light.dataset["light"] = state.light;
    recording.textContent = state.recording;
    const rate = state.rate ? `, ${counted(state.rate)}/s` : "";
    const lost = state.lost ? `, ${counted(state.lost)} lost` : "";
    rows.textContent = `${counted(state.rows)} row${state.rows === 1 ? "" : "s"}${rate}${lost}`;
    machine.textContent = `machine ${state.machine}${state.host ? ` in host ${state.host}` : ""}`;
    devices.textContent = state.devices.join(", ") || "no devices";
    faults.textContent = state.faults ? `${counted(state.faults)} fault${state.faults === 1 ? "" : "s"} (%hdv faults)` : "";
    held.classList.add("hdv-status-stop");
    held.textContent = state.held ? `❚❚ ${state.held}` : "";
    held.hidden = !state.held;
  });
  sync.onData("waiting", ({ text }) => {
    held.classList.remove("hdv-status-stop");
    held.textContent = text;
    held.hidden = !text;
  });
  frame.onShow(() => sync.send({ kind: "look" }));
}

export default definePanel({ name: "status", label: "Status of the lab" }, build);
