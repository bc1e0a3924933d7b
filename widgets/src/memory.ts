// The memory panel: a window of guest RAM, where it is, what changed, and what an overlay makes of it.
import { counted, hex } from "./hex";
import { HexGrid } from "./hex_grid";
import { entriesIn, fieldAt, type Overlay } from "./overlay";
import { definePanel, element, type Frame } from "./panel";

const EMPTY: DataView = new DataView(new ArrayBuffer(0));
let lists = 0;

function build(frame: Frame): void {
  const { sync, root } = frame;
  let base = 0n;
  let data = EMPTY;
  let flags = EMPTY;
  let overlays: Overlay[] = [];
  let overlay: Overlay | undefined;
  let at = 0n;
  let cursor = 0n;
  let chosen: [bigint, bigint] | null = null;

  const list = `hdv-regions-${lists++}`;
  const regions = element("datalist", { id: list });
  const address = element("input", { type: "text", list, "aria-label": "Address, or region that DMA touched", size: 20, spellcheck: "false", autocomplete: "off" });
  const back = element("button", { type: "button", "aria-label": "Window before", title: "Window before (Page Up)" }, "◂");
  const on = element("button", { type: "button", "aria-label": "Window after", title: "Window after (Page Down)" }, "▸");
  const select = element("select", { "aria-label": "Overlay" });
  const here = element("button", { type: "button", title: "The overlay begins at the byte under the cursor" }, "Begin here");
  const mark = element("button", { type: "button", title: "Mark what differs from now on" }, "Mark");
  const status = element("span", { class: "hdv-mem-status", "data-testid": "status" });
  const bar = element("div", { class: "hdv-bar" }, address, regions, back, on, select, here, mark, element("span", { class: "hdv-spring" }), status);
  const grid = new HexGrid(
    frame,
    { label: "Guest memory in hexadecimal", digits: 16, onChoose: (byte) => choose(byte), onMove: (byte) => move(byte), onScroll: (bytes) => scroll(bytes) },
  );
  const nothing = element("div", { class: "hdv-mem-nothing", "data-testid": "nothing", hidden: true });
  const gaps = element("div", { class: "hdv-mem-gaps hdv-dim", "data-testid": "gaps" });
  const under = element("div", { class: "hdv-mem-under hdv-code", "data-testid": "cursor" });
  const table = element("div", { class: "hdv-mem-table", tabindex: -1 });
  const body = element("div", { class: "hdv-mem-body" }, grid.root, gaps, table);
  root.append(bar, nothing, body, under);

  const indexOf = (place: bigint) => (place >= base && place < base + BigInt(data.byteLength) ? Number(place - base) : -1);

  function go(text: string): void {
    sync.send({ kind: "go", text });
  }

  function scroll(bytes: number): void {
    const top = (1n << 64n) - BigInt(data.byteLength);
    const to = base + BigInt(bytes);
    go((to < 0n ? 0n : to > top ? top : to).toString(16));
  }

  function move(byte: number): void {
    cursor = base + BigInt(byte);
    showChosen(null);
  }

  /** Chooses the field under the cursor, or the byte, and with it the rows that touched it. */
  function choose(byte: number): void {
    cursor = base + BigInt(byte);
    const hit = overlay ? fieldAt(overlay, at, cursor) : null;
    const first = hit ? hit.first : cursor;
    const last = hit ? hit.first + BigInt(hit.size) - 1n : cursor;
    showChosen([first, last]);
    sync.send({ kind: "rows", first: first.toString(16), last: last.toString(16) });
  }

  function showChosen(range: [bigint, bigint] | null): void {
    chosen = range;
    if (range) {
      const from = range[0] < base ? 0 : Number(range[0] - base);
      grid.choose(from, Number(range[1] - base));
    } else grid.choose(0, -1);
    tellCursor();
  }

  function tellCursor(): void {
    const byte = indexOf(cursor);
    const hit = overlay ? fieldAt(overlay, at, cursor) : null;
    const what = hit ? `${overlay!.name}${hit.entry < 0 ? "" : `[${hit.entry}]`}.${hit.name}` : "";
    const value = byte < 0 ? "" : `= ${hex(data.getUint8(byte), 1)}`;
    under.textContent = data.byteLength ? [hex(cursor), value, what].filter(Boolean).join("  ") : "";
  }

  function tint(): void {
    grid.tint((byte) => {
      const hit = overlay ? fieldAt(overlay, at, base + BigInt(byte)) : null;
      return hit ? (hit.entry < 0 ? "hdv-ov-head" : `hdv-ov-${(hit.field + (hit.entry % 2)) % 2}`) : "";
    });
  }

  function showOverlay(): void {
    here.hidden = !overlay;
    table.hidden = !overlay;
    tint();
    if (!overlay || !data.byteLength) {
      table.replaceChildren();
      return;
    }
    const entries = entriesIn(overlay, at, data, base);
    const head = entries.filter((one) => one.number < 0);
    const rest = entries.filter((one) => one.number >= 0);
    const words: HTMLElement[] = head.map((one) => {
      const said = overlay!.head.map(([, , name], i) => `${name} ${one.values[i] ?? "—"}`).join("  ");
      return element("div", { class: "hdv-mem-head hdv-code" }, said);
    });
    const names = overlay.fields.map(([, , name]) => element("th", { scope: "col" }, name));
    const rows = rest.map((one) =>
      element("tr", {}, element("th", { scope: "row" }, `${one.number}`), element("td", { class: "hdv-dim" }, hex(one.first)), ...one.values.map((value) => element("td", {}, value ?? "—"))),
    );
    const caption = element("caption", {}, `${overlay.name} from ${hex(at)}${overlay.doc ? ` · ${overlay.doc}` : ""}`);
    const made = element("table", { class: "hdv-code" }, caption, element("thead", {}, element("tr", {}, element("th", { scope: "col" }, "#"), element("th", { scope: "col" }, "address"), ...names)), element("tbody", {}, ...rows));
    const top = table.scrollTop;
    table.replaceChildren(...words, made);
    table.scrollTop = top;
  }

  frame.on(address, "keydown", (event) => {
    if (event.key === "Enter") go(address.value);
    else if (event.key === "Escape") address.value = hex(base);
  });
  frame.on(address, "change", () => {
    if ([...regions.options].some((one) => one.value === address.value)) go(address.value);
  });
  frame.on(back, "click", () => scroll(-data.byteLength));
  frame.on(on, "click", () => scroll(data.byteLength));
  frame.on(mark, "click", () => sync.send({ kind: "mark" }));
  const setOverlay = () => sync.send({ kind: "overlay", name: select.value, at: cursor.toString(16) });
  frame.on(select, "change", setOverlay);
  frame.on(here, "click", setOverlay);

  sync.onData("choices", (told) => {
    overlays = told.overlays;
    overlay = overlays.find((one) => one.name === told.overlay);
    at = BigInt(`0x${told.at}`);
    regions.replaceChildren(...told.regions.map(([name, first, last, rows]: [string, string, string, number]) => element("option", { value: name }, `0x${first}–0x${last}, ${counted(rows)} rows`)));
    const names = ["", ...overlays.map((one) => one.name)];
    if (names.join() !== [...select.options].map((one) => one.value).join()) {
      select.replaceChildren(...names.map((name) => element("option", { value: name }, name || "no overlay")));
    }
    select.value = overlay?.name ?? "";
    showOverlay();
    tellCursor();
  });
  sync.onData("memory", (told, [bytes, marks]) => {
    const was = base;
    base = BigInt(`0x${told.address}`);
    data = bytes ?? EMPTY;
    flags = marks ?? EMPTY;
    if (document.activeElement !== address || was !== base) address.value = hex(base);
    nothing.hidden = told.why === "";
    nothing.textContent = told.why;
    body.hidden = told.why !== "";
    grid.show(base, data, flags);
    gaps.replaceChildren(...told.gaps.map(([start, length, why]: [number, number, string]) => element("div", {}, `${hex(base + BigInt(start))} to ${hex(base + BigInt(start + length - 1))}: ${why}`)));
    if (indexOf(cursor) < 0) cursor = base;
    if (was !== base) showChosen(chosen && indexOf(chosen[0]) >= 0 ? chosen : null);
    showOverlay();
    tellCursor();
  });
  sync.onData("cursor", (told) => {
    cursor = BigInt(`0x${told.address}`);
    status.textContent = "";
    status.classList.remove("hdv-error");
    const byte = indexOf(cursor);
    if (byte >= 0 && grid.root.contains(document.activeElement)) grid.reveal(byte, true);
    tellCursor();
  });
  sync.onData("rows", (told) => {
    const what = told.first === told.last ? hex(BigInt(`0x${told.first}`)) : `${hex(BigInt(`0x${told.first}`))} to ${hex(BigInt(`0x${told.last}`))}`;
    status.textContent = `${counted(told.count)} DMA ${told.count === 1 ? "row" : "rows"} touched ${what}`;
    status.classList.remove("hdv-error");
  });
  const say = (told: any, isFailure: boolean) => {
    status.textContent = told.text;
    status.classList.toggle("hdv-error", told.text !== "");
    if (isFailure) sync.send({ kind: "dismiss" });
  };
  sync.onData("waiting", (told) => say(told, false));
  sync.onData("failed", (told) => say(told, true));
  frame.onShow(() => sync.send({ kind: "look" }));
  showOverlay();
}

export default definePanel({ name: "memory", label: "Guest memory" }, build);
