// Streams written by hand, as the specification writes them: hex with spaces.

/** The 8 bytes before every CprState. */
export const header = "51435052 00000001";

/** The subsection of QEMU 10.1 on, up to its body. */
export const vfio = "05 15 43707253746174652f7666696f2064657669636573 00000001";

/** One entry without the mark before it and the fd after it: length, name, id. */
export function key(name: string, id = "00000000"): string {
  const hex = [...name].map((letter) => letter.charCodeAt(0).toString(16).padStart(2, "0")).join("");
  return `${(name.length + 1).toString(16).padStart(8, "0")} ${hex}00 ${id}`;
}

/** The bytes that hex digits stand for; spaces are for the reader. */
export function fromHex(...parts: string[]): Uint8Array {
  const digits = parts.join("").replaceAll(" ", "");
  return Uint8Array.from(digits.match(/../g) ?? [], (pair) => Number.parseInt(pair, 16));
}

/** A stream: the header and `parts`. */
export function stream(...parts: string[]): Uint8Array {
  return fromHex(header, ...parts);
}
