// Numbers of up to 64 bits as people who debug devices write them. BigInt throughout: a double holds 53 bits.

/** `0x` and hexadecimal digits, filled to `bytes` where given. */
export function hex(value: bigint | number, bytes = 0): string {
  return `0x${BigInt(value).toString(16).padStart(2 * bytes, "0")}`;
}

/** What a person typed: 12, 0x1f, 0b101, 0o17, with _ between digits; null where it is no number below 2**64. */
export function parseNumber(text: string): bigint | null {
  const digits = text.trim().replaceAll("_", "");
  if (!/^(0x[0-9a-f]+|0b[01]+|0o[0-7]+|\d+)$/i.test(digits)) return null;
  const value = BigInt(digits);
  return value < 1n << 64n ? value : null;
}

/** Groups of three digits, as in 1,234,567. */
export function counted(value: bigint | number): string {
  return value.toString().replace(/\B(?=(\d{3})+$)/g, ",");
}
