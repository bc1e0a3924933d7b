// What a poke will do to the stored bits, told before it is made. What a handler does beyond that, nobody can tell.
import { hex, parseNumber } from "./hex";
import { maskOf, partOf, rangeOf, type Field, type Register } from "./register_layout";

export interface Effect {
  /** The value that goes to the device, or null where nothing can be poked. */
  poked: bigint | null;
  /** What is stored then, as the description has it. */
  stored: bigint | null;
  /** In words; the first is the outcome. */
  notes: string[];
  /** Nothing will change, or something is dropped. */
  warns: boolean;
}

/** What a person typed: a number, or what the field calls a value. */
export function readWanted(text: string, field: Field | null): bigint | null {
  const word = text.trim();
  for (const [value, meaning] of field?.meanings ?? []) if (meaning === word) return value;
  return parseNumber(word);
}

/** Runs of bits, as `7:4, 0`. */
export function bitsText(mask: bigint): string {
  const runs: string[] = [];
  for (let bit = 63; bit >= 0; bit--) {
    if (!((mask >> BigInt(bit)) & 1n)) continue;
    let low = bit;
    while (low > 0 && (mask >> BigInt(low - 1)) & 1n) low--;
    runs.push(rangeOf(low, bit - low + 1));
    bit = low;
  }
  return runs.join(", ");
}

const plural = (mask: bigint) => (bitsText(mask).match(/^\d+$/) ? "bit" : "bits");

/** The effect of poking `wanted` into a register, or into a field of it. `now` is null where nobody can look. */
export function effectOf(register: Register, field: Field | null, now: bigint | null, wanted: bigint): Effect {
  const width = field ? field.width : register.width;
  const name = field ? `${register.name}.${field.name}` : register.name;
  if (wanted >> BigInt(width)) {
    const notes = [`${name} is ${width === 1 ? "1 bit" : `${width} bits`} wide; ${hex(wanted)} does not fit`];
    return { poked: null, stored: null, notes, warns: true };
  }
  if (now === null) {
    const notes = field
      ? ["the other bits cannot be looked at, so a field alone cannot be poked; poke the whole register"]
      : ["what is stored cannot be looked at, before or after"];
    return { poked: field ? null : wanted, stored: null, notes, warns: field !== null };
  }
  const once = register.w1c | register.w1s;
  const poked = field ? (now & ~once & ~maskOf(field)) | (wanted << BigInt(field.lsb)) : wanted;
  const cleared = poked & register.w1c;
  const set = poked & register.w1s;
  const stored = ((now & ~register.write) | (poked & register.write)) & ~cleared | set;
  const notes: string[] = [];
  let warns = false;
  if (!(register.write | once)) {
    notes.push(`${register.name} is read-only: the write is dropped`);
    warns = true;
  } else if (stored === now) {
    notes.push(`stored value stays ${hex(now, register.width / 8)}`);
  } else {
    notes.push(`${hex(now, register.width / 8)} → ${hex(stored, register.width / 8)}`);
  }
  const tell = (mask: bigint, text: string, isWarning = false) => {
    if (!mask) return;
    notes.push(`${plural(mask)} ${bitsText(mask)} ${text}`);
    warns ||= isWarning;
  };
  tell(cleared & now, "written 1: cleared");
  tell(cleared & ~now, "written 1: clear already");
  tell(set, "written 1: set");
  const span = field ? maskOf(field) : (1n << BigInt(register.width)) - 1n;
  const kept = span & register.w1c & now & ~poked;
  tell(kept, "written 0: not cleared (1 clears)");
  tell(span & register.w1s & ~poked, "written 0: not set (1 sets)");
  const dropped = (poked ^ now) & span & ~(register.write | once);
  if (register.write | once) {
    tell(dropped & register.reserved, "reserved: dropped", true);
    tell(dropped & ~register.reserved, "read-only: dropped", true);
  }
  tell(span & register.wo, "write-only: a read gives ones");
  return { poked, stored, notes, warns };
}

/** A field's value for people. */
export function fieldText(field: Field, value: bigint): string {
  const part = partOf(field, value);
  return field.meanings.get(part) ?? (part < 10n ? part.toString() : hex(part));
}

const ACCESS: Record<string, string> = {
  rw: "read and write",
  ro: "read-only",
  wo: "write-only: reads give ones",
  w1c: "write 1 to clear",
  w1s: "write 1 to set",
  rc: "reading clears",
};

/** An access mode in words. */
export const accessText = (access: string): string => ACCESS[access] ?? access;
