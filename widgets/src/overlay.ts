// What bytes mean: an overlay is a table of equal entries, with a head before them or without. Little-endian throughout.
import { hex } from "./hex";

export type Part = [offset: number, size: number, name: string];

export interface Overlay {
  name: string;
  stride: number;
  fields: Part[];
  head: Part[];
  headSize: number;
  doc: string;
}

export interface Hit {
  /** Number of the entry; -1 in the head. */
  entry: number;
  name: string;
  /** First byte and bytes of the field. */
  first: bigint;
  size: number;
  /** Number of the field in its entry, for its colour. */
  field: number;
}

/** The field that has a byte, of an overlay that begins at `at`; null where none has it. */
export function fieldAt(overlay: Overlay, at: bigint, address: bigint): Hit | null {
  if (address < at) return null;
  let inside = address - at;
  const inHead = inside < BigInt(overlay.headSize);
  if (!inHead && overlay.stride < 1) return null;
  const entry = inHead ? -1 : Number((inside - BigInt(overlay.headSize)) / BigInt(overlay.stride));
  const start = inHead ? at : at + BigInt(overlay.headSize) + BigInt(entry) * BigInt(overlay.stride);
  inside = address - start;
  const parts = inHead ? overlay.head : overlay.fields;
  const field = parts.findIndex(([offset, size]) => inside >= BigInt(offset) && inside < BigInt(offset + size));
  if (field < 0) return null;
  const [offset, size, name] = parts[field]!;
  return { entry, name, first: start + BigInt(offset), size, field };
}

/** A field's value: a number of up to 8 bytes, else its bytes. Null where they are not all in the window. */
export function valueAt(data: DataView, base: bigint, first: bigint, size: number): string | null {
  const start = first - base;
  if (start < 0n || start + BigInt(size) > BigInt(data.byteLength)) return null;
  const at = Number(start);
  if (size > 8) return Array.from({ length: size }, (_, i) => data.getUint8(at + i).toString(16).padStart(2, "0")).join(" ");
  let value = 0n;
  for (let i = size - 1; i >= 0; i--) value = (value << 8n) | BigInt(data.getUint8(at + i));
  return hex(value);
}

export interface Entry {
  /** -1 = the head. */
  number: number;
  first: bigint;
  /** Null where a field is not wholly in the window. */
  values: (string | null)[];
}

/** The head and the entries that the window has any byte of. */
export function entriesIn(overlay: Overlay, at: bigint, data: DataView, base: bigint): Entry[] {
  const found: Entry[] = [];
  const end = base + BigInt(data.byteLength);
  const take = (number: number, start: bigint, parts: Part[]) =>
    found.push({ number, first: start, values: parts.map(([offset, size]) => valueAt(data, base, start + BigInt(offset), size)) });
  const first = at + BigInt(overlay.headSize);
  if (overlay.head.length && at < end && first > base) take(-1, at, overlay.head);
  if (!overlay.fields.length || overlay.stride < 1) return found;
  const stride = BigInt(overlay.stride);
  let number = base > first ? (base - first) / stride : 0n;
  for (; first + number * stride < end; number++) take(Number(number), first + number * stride, overlay.fields);
  return found;
}
