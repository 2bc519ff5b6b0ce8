// Writes VMState's scalars into bytes and notes which fd belongs to which byte. Everything is big-endian.

import { CprkitError } from "../error.ts";
import type { DescriptionFacts, FieldFacts } from "../facts.ts";
import type { FdForm, PassedFd } from "./reader.ts";
import { encodeText, textLength } from "./text.ts";

/** What saving gives: the bytes, and the fd that belongs to the byte at each `offset`, ascending. */
export interface Output {
  readonly bytes: Uint8Array;
  readonly fds: readonly PassedFd[];
}

/** Sees everything as it is saved: the JSON description is written by the same code with this hook. */
export interface SaveObserver {
  /** A description's body begins: that of the field, the element or the subsection entered last. */
  enterBody(description: DescriptionFacts, version: number): void;
  leaveBody(): void;
  enterField(name: string, field: FieldFacts, offset: number): void;
  leaveField(offset: number): void;
  /** An element of the field entered last: a value, a null pointer, or the marker before a pointer's value. */
  enterElement(form: ElementForm, offset: number): void;
  leaveElement(offset: number): void;
}

/** What an element of an array is on the wire: a value, a null pointer, or the marker before a pointer's value. */
export type ElementForm = "value" | "null" | "marker";

interface KnownText {
  readonly start: number;
  readonly length: number;
  readonly text: string;
}

/** A power of two. */
const knownTexts = 16;

/**
 * Writes scalars (big-endian), for a field kind's `save`. `pos` is the number of bytes written. It does not check that a
 * number fits: the field kind does.
 */
export class Writer {
  readonly fdForm: FdForm;
  pos: number;
  observer: SaveObserver | undefined;
  #bytes: Uint8Array;
  #view: DataView;
  readonly #fds: PassedFd[];
  /** Texts that were written, by the low bits of their length: neighbours often share a name. */
  readonly #known: (KnownText | undefined)[];

  constructor(fdForm: FdForm = "passed", capacity = 256) {
    this.fdForm = fdForm;
    this.pos = 0;
    this.observer = undefined;
    this.#bytes = new Uint8Array(capacity);
    this.#view = new DataView(this.#bytes.buffer);
    this.#fds = [];
    this.#known = new Array(knownTexts).fill(undefined);
  }

  uint8(value: number): void {
    const at = this.#advance(1);
    this.#bytes[at] = value;
  }

  uint16(value: number): void {
    const at = this.#advance(2);
    this.#view.setUint16(at, value);
  }

  uint32(value: number): void {
    const at = this.#advance(4);
    this.#view.setUint32(at, value);
  }

  uint64(value: bigint): void {
    const at = this.#advance(8);
    this.#view.setBigUint64(at, value);
  }

  float64(value: number): void {
    const at = this.#advance(8);
    this.#view.setFloat64(at, value);
  }

  buffer(value: Uint8Array): void {
    const at = this.#advance(value.length);
    this.#bytes.set(value, at);
  }

  /** `length` zero bytes. */
  zeros(length: number): void {
    const at = this.#advance(length);
    this.#bytes.fill(0, at, at + length);
  }

  /** Text without a length (text.ts); returns the bytes written. */
  text(value: string): number {
    // Most names are ASCII: make room for the worst case of UTF-8 once, instead of measuring first.
    const at = this.#reserve(value.length * 3);
    this.pos = encodeText(value, this.#bytes, at);
    return this.pos - at;
  }

  /** Text with a NUL after it; returns the bytes written. Throws ERR_VALUE if `value` holds a NUL. */
  cstring(value: string): number {
    // Room also for the last word of a copy.
    const at = this.#reserve(value.length * 3 + 4);
    const slot = value.length & (knownTexts - 1);
    const known = this.#known[slot];
    if (known !== undefined && known.text === value) {
      this.#repeat(known.start, known.length);
      return known.length;
    }
    if (value.includes("\0"))
      throw new CprkitError("ERR_VALUE", `expected text without NUL, found ${JSON.stringify(value)}`);
    const length = this.text(value) + 1;
    this.uint8(0);
    this.#known[slot] = { start: at, length, text: value };
    return length;
  }

  /** Writes the `length` bytes at `start` once more: four at a time, the last word may write too many. */
  #repeat(start: number, length: number): void {
    const view = this.#view;
    const at = this.pos;
    for (let i = 0; i < length; i += 4) view.setInt32(at + i, view.getInt32(start + i));
    this.pos = at + length;
  }

  /** Text with its length before it in one byte. Throws ERR_VALUE above 255 bytes. */
  countedText(value: string): void {
    const length = textLength(value);
    if (length > 255)
      throw new CprkitError("ERR_VALUE", `"${value}" takes ${length} bytes, a counted string at most 255`);
    this.uint8(length);
    this.text(value);
  }

  /** Notes that `fd` belongs to the byte written last. */
  passFd(fd: number): void {
    this.#fds.push({ offset: this.pos - 1, fd });
  }

  /** What was written. The writer must not be used after it. */
  finish(): Output {
    return { bytes: this.#bytes.subarray(0, this.pos), fds: this.#fds };
  }

  #advance(length: number): number {
    const at = this.#reserve(length);
    this.pos = at + length;
    return at;
  }

  #reserve(length: number): number {
    const needed = this.pos + length;
    if (needed > this.#bytes.length) {
      const bytes = new Uint8Array(Math.max(needed, this.#bytes.length * 2));
      bytes.set(this.#bytes);
      this.#bytes = bytes;
      this.#view = new DataView(bytes.buffer);
    }
    return this.pos;
  }
}
