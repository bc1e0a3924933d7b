// The frame that every panel uses: its root element, what it is told (shown, hidden, sized, themed), and its end.
import { Sync, type Model } from "./sync";

export interface RenderContext {
  model: Model;
  el: HTMLElement;
}

export interface Frame {
  /** The panel's element; what the panel shows goes into it. */
  readonly root: HTMLElement;
  readonly sync: Sync;
  /** This view's name in messages, where the kernel answers one of several views. */
  readonly view: string;
  /** Whether this view is on screen: only then it may draw, and only then the kernel sends. */
  readonly visible: boolean;
  /** An event handler that goes with the view. */
  on<K extends keyof HTMLElementEventMap>(
    target: EventTarget,
    type: K,
    handler: (event: HTMLElementEventMap[K]) => void,
    options?: AddEventListenerOptions,
  ): void;
  /** Called when the view comes on screen, and when it goes. */
  onShow(handler: () => void): void;
  onHide(handler: () => void): void;
  /** Called with the root's size in px, when it is first known (never inside `render`, where it is 0) and when it changes. */
  onSize(handler: (width: number, height: number) => void): void;
  /** Called when the theme changes: canvases must read their colours anew, with `color`. */
  onTheme(handler: () => void): void;
  /** Called once, when the view ends. */
  onEnd(handler: () => void): void;
  /** Calls `draw` once before the next repaint, however often it is asked for; not while the view is hidden. */
  paint(): void;
  /** A colour of the theme as the browser resolved it: `color("--hdv-text")`. */
  color(variable: string): string;
  /** Says something to a screen reader. Never for what flows by. */
  announce(text: string): void;
}

export interface PanelOptions {
  /** As in the bundle's name; the root has class `hdv-NAME` and test id `hdv-NAME`. */
  name: string;
  /** What a screen reader calls the panel. */
  label: string;
  /** Draws; see Frame.paint. */
  draw?: (frame: Frame) => void;
}

/** Makes the `{render}` of a panel. `build` fills the root; it runs before the root is attached, where sizes are 0. */
export function definePanel(options: PanelOptions, build: (frame: Frame) => void | (() => void)) {
  return {
    render({ model, el }: RenderContext): () => void {
      return openPanel(options, build, model, el);
    },
  };
}

const RENEW_MS = 60_000; // the kernel forgets a view that says nothing for ten of these: its page is gone
let views = 0;

function openPanel(
  options: PanelOptions,
  build: (frame: Frame) => void | (() => void),
  model: Model,
  el: HTMLElement,
): () => void {
  const sync = new Sync(model);
  const end = new AbortController();
  const shown: (() => void)[] = [];
  const hidden: (() => void)[] = [];
  const sized: ((width: number, height: number) => void)[] = [];
  const themed: (() => void)[] = [];
  const view = `${Date.now().toString(36)}-${Math.random().toString(36).slice(2, 8)}-${views++}`;
  let intersects = false;
  let visible = false;
  let asked = 0;

  const label = unusedLabel(options.label);
  const root = element("section", {
    class: `hdv-panel hdv-${options.name}`,
    "aria-label": label,
    "data-testid": `hdv-${options.name}`,
    // Without it, letters typed into the panel are JupyterLab's shortcuts, and cut cells. It keeps shortcuts from being
    // found from here up; those for whatever has the focus are found below, at it: therefore `keepKeys`.
    "data-lm-suppress-shortcuts": "true",
  });
  const live = element("div", { class: "hdv-announce", "aria-live": "polite", role: "status" });

  const frame: Frame = {
    root,
    sync,
    view,
    get visible() {
      return visible;
    },
    on: (target, type, handler, listen) =>
      target.addEventListener(type, handler as EventListener, { ...listen, signal: end.signal }),
    onShow: (handler) => void shown.push(handler),
    onHide: (handler) => void hidden.push(handler),
    onSize: (handler) => void sized.push(handler),
    onTheme: (handler) => void themed.push(handler),
    onEnd: (handler) => end.signal.addEventListener("abort", handler, { once: true }),
    paint() {
      if (!visible || asked || end.signal.aborted) return;
      asked = requestAnimationFrame(() => {
        asked = 0;
        if (visible) options.draw?.(frame);
      });
    },
    color: (variable) => resolvedColor(root, variable),
    announce: (text) => void (live.textContent = text),
  };

  const tell = () => sync.send({ kind: "visible", view, on: visible });
  const look = () => {
    const now = intersects && document.visibilityState !== "hidden" && !end.signal.aborted;
    if (now === visible) return;
    visible = now;
    tell();
    for (const handler of visible ? shown : hidden) handler();
    if (visible) frame.paint();
  };

  const built = build(frame);
  const dismiss = element("button", { type: "button", "aria-label": "Dismiss the message" }, "×");
  const failure = element("div", { class: "hdv-failure", role: "alert" }, element("span"), dismiss);
  failure.hidden = true;
  sync.onData("failed", ({ text }) => {
    failure.firstElementChild!.textContent = text;
    failure.hidden = !text;
  });
  frame.on(dismiss, "click", () => {
    failure.hidden = true;
    sync.send({ kind: "dismiss" });
  });
  root.prepend(failure);
  root.append(live);
  el.append(root);

  // The view stays rendered when the notebook scrolls it away: only this says that nobody sees it.
  const intersection = new IntersectionObserver((entries) => {
    intersects = entries[entries.length - 1]!.isIntersecting;
    look();
  });
  intersection.observe(root);
  const size = new ResizeObserver(() => {
    const { clientWidth, clientHeight } = root;
    if (clientWidth === 0) return;
    for (const handler of sized) handler(clientWidth, clientHeight);
    frame.paint();
  });
  size.observe(root);
  const theme = new MutationObserver(() => {
    for (const handler of themed) handler();
    frame.paint();
  });
  theme.observe(document.body, { attributeFilter: ["data-jp-theme-light", "data-jp-theme-name", "data-vscode-theme-kind", "class"] });
  frame.on(document, "visibilitychange" as keyof HTMLElementEventMap, look);
  frame.on(window, "pagehide" as keyof HTMLElementEventMap, () => {
    intersects = false;
    look();
  });
  // The attribute above holds for what lies below the root; JupyterLab's bindings for whatever has the focus match that
  // element before they see it.
  frame.on(root, "keydown", keepKeys);
  const renew = setInterval(() => visible && tell(), RENEW_MS);

  return () => {
    if (end.signal.aborted) return;
    intersection.disconnect();
    size.disconnect();
    theme.disconnect();
    clearInterval(renew);
    cancelAnimationFrame(asked);
    end.abort();
    look();
    built?.();
    sync.close();
    root.remove();
    labels().delete(label);
  };
}

/** Names of the panels on this page, of whatever kind and notebook: each panel's module is loaded anew for its widget. */
function labels(): Set<string> {
  const page = globalThis as { hdvlabLabels?: Set<string> };
  return (page.hdvlabLabels ??= new Set());
}

/** Landmarks have different names: "Registers", "Registers 2". */
function unusedLabel(wanted: string): string {
  let label = wanted;
  for (let number = 2; labels().has(label); number++) label = `${wanted} ${number}`;
  labels().add(label);
  return label;
}

/** Keys without Ctrl are the panel's, and no shortcut of the notebook's; Ctrl+S still saves. */
function keepKeys(event: KeyboardEvent): void {
  if (!event.ctrlKey && !event.metaKey && !event.altKey) event.stopPropagation();
}

type Child = Node | string;

/** An element with attributes; `true` writes an empty attribute, `false`, null and undefined write none. */
export function element<K extends keyof HTMLElementTagNameMap>(
  tag: K,
  attributes: Record<string, string | number | boolean | null | undefined> = {},
  ...children: Child[]
): HTMLElementTagNameMap[K] {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value !== false && value !== null && value !== undefined) made.setAttribute(name, value === true ? "" : `${value}`);
  }
  made.append(...children);
  return made;
}

/** A variable's colour as canvases understand it, with var() and system colours resolved. */
function resolvedColor(root: HTMLElement, variable: string): string {
  const probe = element("span", { style: `color: var(${variable}); display: none` });
  root.append(probe);
  const color = getComputedStyle(probe).color;
  probe.remove();
  return color;
}
