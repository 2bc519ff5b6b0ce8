// What all targets share: when a refusal is a good one, and how an input is cut into parts.

import { type CprkitError, type ErrorCode, isCprkitError } from "../src/vmstate/index.ts";

/** One loader under test. Throws a plain Error for anything but a right result or a clear refusal. */
export type Target = (input: Uint8Array) => void;

/** The result of `work`, or undefined if it refused with one of `codes`. Any other error goes on. */
export function unlessRefused<T>(
  work: () => T,
  check: (error: CprkitError) => void = () => {},
  codes?: readonly ErrorCode[],
): T | undefined {
  try {
    return work();
  } catch (error) {
    if (!isCprkitError(error) || (codes !== undefined && !codes.includes(error.code))) throw error;
    check(error);
    return undefined;
  }
}

/** Throws if `error` does not say where in an input of `length` bytes it is, or hides another error. */
export function hasPlace({ code, offset, message }: CprkitError, length: number): void {
  if (offset === undefined || offset < 0 || offset > length) throw new Error(`${code} at no offset: ${message}`);
  // A hook that failed would be a foreign error in disguise.
  if (code === "ERR_HOOK") throw new Error(`a hook failed: ${message}`);
}

/** The parts of an input between its first `count - 1` zero bytes. */
export function parts(input: Uint8Array, count: number): Uint8Array[] {
  const found: Uint8Array[] = [];
  let rest = input;
  while (found.length < count - 1) {
    const at = rest.indexOf(0);
    if (at < 0) break;
    found.push(rest.subarray(0, at));
    rest = rest.subarray(at + 1);
  }
  return [...found, rest];
}

/** Throws with `what` unless both are the same bytes. */
export function sameBytes(found: Uint8Array, expected: Uint8Array, what: string): void {
  const at = expected.findIndex((byte, i) => byte !== found[i]);
  if (at < 0 && found.length === expected.length) return;
  const from = Math.max(0, (at < 0 ? expected.length : at) - 8);
  throw new Error(`${what}: at byte ${at} ${hexAt(found, from)} instead of ${hexAt(expected, from)}`);
}

function hexAt(bytes: Uint8Array, from: number): string {
  return Buffer.from(bytes.subarray(from, from + 64)).toString("hex");
}
