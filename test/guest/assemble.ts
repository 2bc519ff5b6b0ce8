// A tiny builder of machine code: each line is a comment (the instruction as a person writes it) and its bytes.

/** A byte, or a place in the program: `address` gives two bytes, `near` and `short` a distance of two or one. */
type Part = number | { readonly kind: "address" | "near" | "short"; readonly label: string };

/** A bare string is a label; the first element of an instruction is its comment. */
export type Line = string | readonly [comment: string, ...parts: Part[]];

/** The 16-bit address of a label. */
export const address = (label: string): Part => ({ kind: "address", label });

/** The distance to a label from the end of this part, for near jumps and calls (2 bytes). */
export const near = (label: string): Part => ({ kind: "near", label });

/** The distance to a label from the end of this part, for short jumps (1 byte). */
export const short = (label: string): Part => ({ kind: "short", label });

/** The two bytes of a 16-bit number, as x86 has them. */
export const word = (value: number): [number, number] => [value & 0xff, (value >> 8) & 0xff];

/**
 * Turns lines into bytes that run at `origin`.
 *
 * @throws {Error} an unknown label, a byte out of range, a short jump that is too far
 */
export function assemble(origin: number, lines: readonly Line[]): Uint8Array {
  const labels = new Map<string, number>();
  let size = 0;
  for (const line of lines) {
    if (typeof line === "string") labels.set(line, origin + size);
    else for (const part of line.slice(1) as Part[]) size += partSize(part);
  }
  const bytes = new Uint8Array(size);
  let at = 0;
  for (const line of lines) {
    if (typeof line === "string") continue;
    const [comment, ...parts] = line;
    for (const part of parts) {
      const encoded = encodePart(part, origin + at, labels);
      if (encoded.some((byte) => !Number.isInteger(byte) || byte < 0 || byte > 0xff)) {
        throw new Error(`"${comment}": a byte out of range`);
      }
      bytes.set(encoded, at);
      at += encoded.length;
    }
  }
  return bytes;
}

function partSize(part: Part): number {
  return typeof part === "number" || part.kind === "short" ? 1 : 2;
}

function encodePart(part: Part, here: number, labels: ReadonlyMap<string, number>): number[] {
  if (typeof part === "number") return [part];
  const target = labels.get(part.label);
  if (target === undefined) throw new Error(`no label "${part.label}"`);
  if (part.kind === "address") return word(target);
  const distance = target - (here + partSize(part));
  if (part.kind === "near") return word(distance);
  if (distance < -128 || distance > 127) throw new Error(`"${part.label}" is too far for a short jump`);
  return [distance & 0xff];
}
