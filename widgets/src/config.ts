// The PCI config explorer: the tree and the bytes, each showing what is chosen in the other; edits are pokes.
import { flatten, itemAt, numberAt, whyNotWritable, writeNote, type Item, type Target } from "./config_tree";
import { counted, hex, parseNumber } from "./hex";
import { HexGrid } from "./hex_grid";
import { definePanel, element, type Frame } from "./panel";
import { roving } from "./roving";

const EMPTY: DataView = new DataView(new ArrayBuffer(0));

function build(frame: Frame): void {
  const { sync, root } = frame;
  let items: Item[] = [];
  let lines: HTMLElement[] = [];
  let data = EMPTY;
  let told = "";
  let device = "";
  let chosen: Target | null = null;
  let item: Item | undefined;

  const which = element("select", { "aria-label": "Device" });
  const mark = element("button", { type: "button", title: "Mark what differs from now on" }, "Mark");
  const status = element("span", { class: "hdv-cfg-status", "data-testid": "status" });
  const bar = element("div", { class: "hdv-bar" }, which, mark, element("span", { class: "hdv-spring" }), status);
  const tree = element("div", { class: "hdv-cfg-tree", role: "tree", "aria-label": "Configuration space" });
  const grid = new HexGrid(
    frame,
    { label: "Configuration space in hexadecimal", digits: 3, onChoose: (at, enter) => chooseByte(at, enter), onMove: (at) => show(itemAt(items, at), at) },
  );
  const side = element("div", { class: "hdv-cfg-hex" }, grid.root);
  const main = element("div", { class: "hdv-cfg-main" }, tree, side);
  const about = element("span", { class: "hdv-cfg-about" });
  const input = element("input", { type: "text", "aria-label": "New value", size: 14, spellcheck: "false", autocomplete: "off" });
  const write = element("button", { type: "button", title: "A config write; a row with origin user" }, "Write");
  const effect = element("span", { class: "hdv-cfg-effect hdv-code", role: "status", "data-testid": "effect" });
  const detail = element("div", { class: "hdv-cfg-detail", hidden: true }, about, input, write, effect);
  const nothing = element("div", { class: "hdv-cfg-nothing", hidden: true, "data-testid": "nothing" });
  root.append(bar, nothing, main, detail);

  const moves = roving(tree, {
    cells: () => lines.map((one) => [one]),
    onEnter: (line) => choose(lines.indexOf(line), true),
    onMove: (line) => show(lines.indexOf(line), null),
  });

  /** Shows an item as chosen, in the tree and in the bytes; `byte` where the choice was one in the hexadecimal. */
  function show(number: number, byte: number | null): void {
    item = items[number];
    const only = byte !== null && (!item || whyNotWritable({ offset: item.start, size: item.size }) !== "");
    chosen = only ? { offset: byte, size: 1 } : item ? { offset: item.start, size: item.size } : null;
    lines.forEach((line, at) => {
      line.classList.toggle("hdv-chosen", at === number);
      line.setAttribute("aria-selected", `${at === number}`);
    });
    if (byte === null && item) grid.reveal(item.start);
    else lines[number]?.scrollIntoView?.({ block: "nearest" });
    if (item) grid.choose(item.start, item.start + item.size - 1);
    else if (byte !== null) grid.choose(byte, byte);
    input.value = "";
    tell();
  }

  function choose(number: number, enter: boolean): void {
    show(number, null);
    after(enter);
  }

  function chooseByte(at: number, enter: boolean): void {
    show(itemAt(items, at), at);
    after(enter);
  }

  function after(enter: boolean): void {
    if (!chosen) return;
    sync.send({ kind: "rows", first: chosen.offset, last: chosen.offset + chosen.size - 1 });
    if (enter && !input.disabled) {
      input.focus();
      input.select();
    }
  }

  function tell(): bigint | null {
    detail.hidden = !chosen;
    effect.classList.remove("hdv-error");
    if (!chosen) return null;
    const { offset, size } = chosen;
    const why = whyNotWritable(chosen);
    const name = item && size === item.size ? item.label : item ? `${item.label}, byte ${offset - item.start}` : "byte";
    const value = why ? "" : ` = ${hex(numberAt(data, offset, size), size)}`;
    const now = element("span", { class: "hdv-code" }, `config+${hex(offset)}/${size}${value}`);
    about.replaceChildren(element("strong", {}, name), " ", now);
    input.disabled = write.disabled = why !== "";
    if (why || !input.value.trim()) {
      effect.textContent = why || "Type a value to see what it does; Enter writes it, Escape leaves.";
      write.disabled = true;
      return null;
    }
    const wanted = parseNumber(input.value);
    if (wanted === null || wanted >> BigInt(8 * size)) {
      effect.textContent = wanted === null ? `${input.value} is no number; write 12, 0x1f or 0b101` : `${hex(wanted)} does not fit ${size} bytes`;
      effect.classList.add("hdv-error");
      write.disabled = true;
      return null;
    }
    effect.textContent = writeNote(item?.size === size ? item : undefined, numberAt(data, offset, size), wanted);
    return wanted;
  }

  function doWrite(): void {
    const wanted = tell();
    if (wanted === null || !chosen) return;
    sync.send({ kind: "write", device, offset: chosen.offset, size: chosen.size, value: wanted.toString(16) });
    input.value = "";
  }

  function buildTree(): void {
    lines = items.map((one) =>
      element("div", { class: `hdv-cfg-item${one.isGroup ? " hdv-cfg-group" : ""}`, role: "treeitem", "aria-level": one.level, "aria-selected": "false", tabindex: -1, style: `padding-left: ${8 + 14 * (one.level - 1)}px` },
        element("span", { class: "hdv-cfg-label" }, one.label),
        element("span", { class: "hdv-code" }, one.text),
        ...(one.access && one.access !== "ro" ? [element("span", { class: "hdv-cfg-access hdv-dim" }, one.access)] : [])),
    );
    tree.replaceChildren(...lines);
    moves.refresh();
  }

  frame.on(tree, "click", (event) => {
    const line = (event.target as HTMLElement).closest<HTMLElement>("[role=treeitem]");
    if (!line) return;
    line.focus();
    choose(lines.indexOf(line), false);
  });
  frame.on(input, "input", () => tell());
  frame.on(input, "keydown", (event) => {
    if (event.key === "Enter") doWrite();
    else if (event.key === "Escape") {
      input.value = "";
      tell();
      (tree.querySelector<HTMLElement>(".hdv-chosen") ?? tree.querySelector<HTMLElement>("[tabindex='0']"))?.focus();
    }
  });
  frame.on(write, "click", doWrite);
  frame.on(mark, "click", () => sync.send({ kind: "mark" }));
  frame.on(which, "change", () => sync.send({ kind: "device", device: which.value }));

  sync.onData("config", (content, [bytes, flags]) => {
    data = bytes ?? EMPTY;
    const names: string[] = content.devices.includes(content.device) || !content.device ? content.devices : [content.device, ...content.devices];
    if (names.join() !== [...which.options].map((one) => one.value).join()) {
      which.replaceChildren(...names.map((name) => element("option", { value: name }, name)));
    }
    which.value = device = content.device;
    which.hidden = names.length === 0;
    nothing.hidden = content.why === "";
    nothing.textContent = content.why;
    main.hidden = content.why !== "";
    if (content.why) chosen = null;
    const now = JSON.stringify(content.tree);
    if (now !== told) {
      told = now;
      const were = chosen;
      const shape = (list: Item[]) => list.map((one) => `${one.level} ${one.label} ${one.start} ${one.size}`).join();
      const before = shape(items);
      items = flatten(content.tree);
      const held = item ? items.findIndex((one) => one.label === item!.label && one.start === item!.start) : -1;
      if (shape(items) !== before) {
        buildTree();
        if (were && held >= 0) show(held, null);
      } else {
        items.forEach((one, at) => (lines[at]!.children[1]!.textContent = one.text));
        if (held >= 0) item = items[held];
      }
    }
    grid.show(0n, data, flags ?? EMPTY);
    tell();
    if (content.is_vm && !status.textContent) status.textContent = "what is written here the VM does not learn";
  });
  sync.onData("rows", (content) => {
    status.textContent = `${counted(content.count)} ${content.count === 1 ? "row" : "rows"} touched config+${hex(content.first)}`;
    status.classList.remove("hdv-error");
  });
  sync.onData("written", (content) => {
    status.textContent = content.text;
    status.classList.toggle("hdv-error", !content.ok);
    frame.announce(content.text);
  });
  const say = (content: any, isFailure: boolean) => {
    status.textContent = content.text;
    status.classList.toggle("hdv-error", content.text !== "");
    if (isFailure) sync.send({ kind: "dismiss" });
  };
  sync.onData("waiting", (content) => say(content, false));
  sync.onData("failed", (content) => say(content, true));
  frame.onShow(() => sync.send({ kind: "look" }));
}

export default definePanel({ name: "config", label: "PCI configuration space" }, build);
