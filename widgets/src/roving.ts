// One tab stop for many things: arrow keys move inside a grid, TAB leaves it.

export interface RovingOptions {
  /** The things, row by row; rows may differ in length. Asked for at each key, so it may change. */
  cells: () => HTMLElement[][];
  /** Enter or space on a thing. */
  onEnter?: (cell: HTMLElement, event: KeyboardEvent) => void;
  /** Called when a thing gets the focus by a key. */
  onMove?: (cell: HTMLElement) => void;
}

const STEPS: Record<string, [number, number]> = {
  ArrowUp: [-1, 0],
  ArrowDown: [1, 0],
  ArrowLeft: [0, -1],
  ArrowRight: [0, 1],
};

/** Makes a container's cells one tab stop. Call `refresh` after cells were added or removed. */
export function roving(container: HTMLElement, options: RovingOptions, signal?: AbortSignal): { refresh(): void } {
  const all = () => options.cells().flat();
  let current: HTMLElement | undefined;

  const hold = (cell: HTMLElement | undefined) => {
    for (const one of all()) one.tabIndex = one === cell ? 0 : -1;
    current = cell;
  };
  const refresh = () => {
    const cells = all();
    hold(current && cells.includes(current) ? current : cells[0]);
  };
  const move = (cell: HTMLElement | undefined) => {
    if (!cell) return;
    hold(cell);
    cell.focus();
    options.onMove?.(cell);
  };

  container.addEventListener("focusin", (event) => {
    const cell = all().find((one) => one.contains(event.target as Node));
    if (cell) hold(cell);
  }, { signal });
  container.addEventListener("keydown", (event) => {
    if (event.altKey || event.metaKey || event.target !== current) return;
    const rows = options.cells().filter((row) => row.length > 0);
    const row = rows.findIndex((one) => current !== undefined && one.includes(current));
    if (row < 0) return;
    const column = rows[row]!.indexOf(current!);
    const step = STEPS[event.key];
    if (step) {
      const target = rows[Math.max(0, Math.min(rows.length - 1, row + step[0]))]!;
      move(target[Math.max(0, Math.min(target.length - 1, column + step[1]))]);
    } else if (event.key === "Home") {
      move((event.ctrlKey ? rows[0]! : rows[row]!)[0]);
    } else if (event.key === "End") {
      const last = event.ctrlKey ? rows[rows.length - 1]! : rows[row]!;
      move(last[last.length - 1]);
    } else if ((event.key === "Enter" || event.key === " ") && options.onEnter) {
      options.onEnter(current!, event);
    } else {
      return;
    }
    event.preventDefault();
    event.stopPropagation();
  }, { signal });
  refresh();
  return { refresh };
}
