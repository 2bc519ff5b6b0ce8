// Whether two descriptions put the same bytes into a stream, whatever they call them: names are not sent.

import type { CheckBody, CheckField } from "./side.ts";

/** Some elements of one size, one after the other. */
interface Unit {
  /** A whole number, bytes, or a type whose bytes only its own code knows. */
  readonly kind: "number" | "bytes" | "own";
  readonly type: string;
  /** Of one element, in bytes. */
  readonly size: number;
  count: number;
}

/** More units than that are not compared: a hostile description may have any number. */
const maxUnits = 200_000;

/**
 * Whether the fields of both, without subsections, have the same bytes in the same order: numbers of the same width, and
 * bytes where the other has bytes or numbers. Both from streams, so that sizes are those on the wire.
 */
export function sameWire(a: CheckBody, b: CheckBody): boolean {
  const left = cursor(unitsOf(a, 0));
  const right = cursor(unitsOf(b, 0));
  for (let steps = 0; steps < maxUnits; steps++) {
    const [one, other] = [left.peek(), right.peek()];
    if (one === undefined || other === undefined) return one === other;
    if (one.kind === "own" || other.kind === "own") {
      if (one.type !== other.type || one.kind !== other.kind) return false;
      left.drop();
      right.drop();
    } else if (one.size === other.size) {
      const count = Math.min(one.count, other.count);
      left.take(count);
      right.take(count);
    } else if (one.kind === "bytes" && one.count >= other.size) {
      const count = Math.min(other.count, Math.floor(one.count / other.size));
      left.take(count * other.size);
      right.take(count);
    } else if (other.kind === "bytes" && other.count >= one.size) {
      const count = Math.min(one.count, Math.floor(other.count / one.size));
      left.take(count);
      right.take(count * one.size);
    } else return false;
  }
  return false;
}

interface Cursor {
  peek(): Unit | undefined;
  /** Takes `count` elements off the unit that is next. */
  take(count: number): void;
  drop(): void;
}

function cursor(units: Generator<Unit>): Cursor {
  let next: Unit | undefined;
  const peek = () => {
    while (next === undefined || next.count === 0) {
      const { done, value } = units.next();
      if (done === true) return undefined;
      next = { ...value };
    }
    return next;
  };
  return {
    peek,
    take(count) {
      if (next !== undefined) next.count -= count;
    },
    drop() {
      next = undefined;
    },
  };
}

const maxDepth = 100;

function* unitsOf({ fields }: CheckBody, depth: number): Generator<Unit> {
  if (depth > maxDepth) return;
  for (const field of fields) {
    const { body, count = 1 } = field;
    if (body === undefined) yield unitOf(field);
    else for (let i = 0; i < count; i++) yield* unitsOf(body, depth + 1);
  }
}

const numbers = /^(u?int(8|16|32|64)( equal| le)?|bool|timer|CPU_Double_U)$/;
const byteTypes: ReadonlySet<string> = new Set(["buffer", "unused_buffer", "bitmap"]);

function unitOf({ type = "", size, count = 1 }: CheckField): Unit {
  if (size === undefined) return { kind: "own", type, size: 0, count: 1 };
  if (byteTypes.has(type)) return { kind: "bytes", type, size: 1, count: size };
  if (numbers.test(type) && count > 0) return { kind: "number", type, size: size / count, count };
  return { kind: "own", type, size, count: 1 };
}
