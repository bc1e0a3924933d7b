// Configuration space as the kernel took it apart: a flat list with levels, and which item a byte belongs to.

export interface Item {
  label: string;
  text: string;
  start: number;
  size: number;
  access: string;
  level: number;
  isGroup: boolean;
}

/** The tree as lines, each with its depth. */
export function flatten(items: any[], level = 1): Item[] {
  return items.flatMap((one) => [
    { label: one.label, text: one.text, start: one.start, size: one.size, access: one.access, level, isGroup: one.items.length > 0 },
    ...flatten(one.items, level + 1),
  ]);
}

/** The smallest item that has the byte; of equal ones the first. -1 where none has it. */
export function itemAt(items: Item[], byte: number): number {
  let best = -1;
  items.forEach((one, number) => {
    if (!one.label || byte < one.start || byte >= one.start + one.size) return;
    if (best < 0 || one.size < items[best]!.size) best = number;
  });
  return best;
}

export interface Target {
  offset: number;
  size: number;
}

/** Whether bytes can be written by one access, and if not, what to do. */
export function whyNotWritable({ offset, size }: Target): string {
  if (![1, 2, 4].includes(size)) return `${size} bytes are no single access; choose a part, or a byte in the hexadecimal`;
  if ((offset % 4) + size > 4) return "an access stays within one dword; choose a byte";
  return "";
}

/** What the standard says becomes of a write, before it is made. The device decides in the end. */
export function writeNote(item: Item | undefined, now: bigint, wanted: bigint): string {
  const digits = (item?.size ?? 1) * 2;
  const text = (value: bigint) => `0x${value.toString(16).padStart(digits, "0")}`;
  if (item?.access === "ro") return `${item.label} is read-only in the standard: the device drops it, or not`;
  if (item?.access === "w1c") {
    const cleared = now & wanted;
    return cleared ? `write 1 to clear: ${text(now)} → ${text(now & ~wanted)}, where the bits are such` : "write 1 to clear: no bit that is set is written 1, so nothing changes";
  }
  return now === wanted ? `${text(now)}, as it is` : `${text(now)} → ${text(wanted)}, where the bits can be written`;
}

/** Little-endian bytes as a number. */
export function numberAt(data: DataView, start: number, size: number): bigint {
  let value = 0n;
  for (let at = size - 1; at >= 0; at--) value = (value << 8n) | BigInt(start + at < data.byteLength ? data.getUint8(start + at) : 0);
  return value;
}
