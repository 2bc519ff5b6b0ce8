// Bytes in lines, each with its offset and what it is.

/** Bytes from an offset on. */
export type BytesAt = (offset: number, length: number) => Uint8Array;

/** Lines for the bytes from `offset` on, `text` at the end of the first; one line if there are none. */
export type Dump = (offset: number, length: number, text: string, depth?: number) => string;

const perLine = 16;

/** A dump in lines of 16 bytes, each with its offset in at least `offsetDigits` digits. */
export function hexDump(bytesAt: BytesAt, offsetDigits: number): Dump {
  const line = (offset: number, bytes: Uint8Array, text: string): string => {
    const digits = Buffer.from(bytes)
      .toString("hex")
      .replace(/..(?=.)/g, "$& ");
    return `${`${offset.toString(16).padStart(offsetDigits, "0")}  ${digits.padEnd(perLine * 3)} ${text}`.trimEnd()}\n`;
  };
  return (offset, length, text, depth = 0) => {
    const bytes = bytesAt(offset, length);
    let lines = line(offset, bytes.subarray(0, perLine), "  ".repeat(depth) + text);
    for (let at = perLine; at < bytes.length; at += perLine) {
      lines += line(offset + at, bytes.subarray(at, at + perLine), "");
    }
    return lines;
  };
}
