// The registers that the kernel described, and their values as they come: 64 bits each, never through JSON.

export interface Field {
  name: string;
  lsb: number;
  width: number;
  access: string;
  meanings: Map<bigint, string>;
  doc: string;
}

export interface Register {
  device: string;
  bar: number;
  name: string;
  offset: number;
  width: number;
  access: string;
  doc: string;
  /** Bits that a write stores, clears with 1, sets with 1; that a read clears; that read as ones; that no field names. */
  write: bigint;
  w1c: bigint;
  w1s: bigint;
  rc: bigint;
  wo: bigint;
  reserved: bigint;
  /** From the highest bit down. */
  fields: Field[];
}

export interface Device {
  name: string;
  address: string;
  bars: { bar: number; registers: Register[] }[];
}

export interface Values {
  value: bigint[];
  /** Bits that changed lately, and bits that differ from those at the mark. */
  changed: bigint[];
  marked: bigint[];
  known: boolean[];
}

const bits = (text: string) => BigInt(`0x${text}`);

/** The kernel's description, with its masks as numbers. */
export function readLayout(told: any): Device[] {
  return told.devices.map((device: any) => ({
    name: device.name,
    address: device.address,
    bars: device.bars.map((bar: any) => ({
      bar: bar.bar,
      registers: bar.registers.map((one: any) => ({
        ...one,
        device: device.name,
        bar: bar.bar,
        write: bits(one.write),
        w1c: bits(one.w1c),
        w1s: bits(one.w1s),
        rc: bits(one.rc),
        wo: bits(one.wo),
        reserved: bits(one.reserved),
        fields: one.fields.map((field: any) => ({
          ...field,
          meanings: new Map(Object.entries(field.meanings).map(([value, text]) => [bits(value), text as string])),
        })),
      })),
    })),
  }));
}

/** All registers in the order of the values. */
export function registersOf(devices: Device[]): Register[] {
  return devices.flatMap((device) => device.bars.flatMap((bar) => bar.registers));
}

/** Values, changed bits and marked bits behind each other, then a byte for each: whether the value is known. */
export function readValues(data: DataView): Values {
  const count = Math.floor(data.byteLength / 25);
  const numbers = (part: number) =>
    Array.from({ length: count }, (_, at) => data.getBigUint64(8 * (part * count + at), true));
  const known = Array.from({ length: count }, (_, at) => data.getUint8(24 * count + at) !== 0);
  return { value: numbers(0), changed: numbers(1), marked: numbers(2), known };
}

export const maskOf = (field: Field): bigint => ((1n << BigInt(field.width)) - 1n) << BigInt(field.lsb);

/** A field's part of a register's value. */
export const partOf = (field: Field, value: bigint): bigint => (value & maskOf(field)) >> BigInt(field.lsb);

/** `7:4`, or `0` for one bit. */
export const rangeOf = (lsb: number, width: number): string => (width === 1 ? `${lsb}` : `${lsb + width - 1}:${lsb}`);

export interface Segment {
  lsb: number;
  width: number;
  /** Null where no field names the bits. */
  field: Field | null;
}

/** The bit-field row: fields and the reserved bits between them, from the highest bit down. */
export function segmentsOf(register: Register): Segment[] {
  const found: Segment[] = [];
  let above = register.width;
  for (const field of register.fields) {
    const top = field.lsb + field.width;
    if (top < above) found.push({ lsb: top, width: above - top, field: null });
    found.push({ lsb: field.lsb, width: field.width, field });
    above = field.lsb;
  }
  if (register.fields.length && above > 0) found.push({ lsb: 0, width: above, field: null });
  return found;
}
