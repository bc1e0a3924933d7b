// A row of buttons that is one tab stop.
import { element, type Frame } from "./panel";
import { roving } from "./roving";

export interface Tool {
  label: string;
  title: string;
  act: () => void;
  /** For buttons that stay down: whether they are. Asked for at `refresh`. */
  pressed?: () => boolean;
}

export interface Toolbar {
  readonly bar: HTMLElement;
  /** Shows which buttons are down. */
  refresh(): void;
}

export function toolbar(frame: Frame, label: string, tools: Tool[], ...others: HTMLElement[]): Toolbar {
  const bar = element("div", { class: "hdv-bar", role: "toolbar", "aria-label": label });
  const buttons = tools.map((tool) => {
    const button = element("button", { type: "button", title: tool.title, "aria-label": tool.title }, tool.label);
    frame.on(button, "click", () => {
      tool.act();
      refresh();
    });
    bar.append(button);
    return button;
  });
  bar.append(...others);
  const end = new AbortController();
  frame.onEnd(() => end.abort());
  const stops = [...buttons, ...others.filter((one) => one.matches("button, select"))];
  roving(bar, { cells: () => [stops], onEnter: (cell) => cell.click() }, end.signal);
  const refresh = () => {
    tools.forEach((tool, n) => {
      if (tool.pressed) buttons[n]!.setAttribute("aria-pressed", `${tool.pressed()}`);
    });
  };
  refresh();
  return { bar, refresh };
}
