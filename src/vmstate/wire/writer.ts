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
  /** Code that was made of descriptions may be used (cprkit/compile), where there is some. Default false. */
  compiled: boolean;
  /**
   * The bytes, with room behind `pos`; another array after `grow`.
   * @internal
   */
  bytes: Uint8Array<ArrayBuffer>;
  /** @internal */
  view: DataView<ArrayBuffer>;
  /**
   * By number of the fd: the offset of its byte, and the fd. Columns: an object an fd was most of what a save left behind.
   * @internal
   */
  fdColumns: Float64Array<ArrayBuffer>;
  /** @internal */
  fdCount: number;
  /** Texts that were written, by the low bits of their length: neighbours often share a name. */
  readonly #known: (KnownText | undefined)[];

  constructor(fdForm: FdForm = "passed", capacity = 256) {
    this.fdForm = fdForm;
    this.pos = 0;
    this.observer = undefined;
    this.compiled = false;
    this.bytes = new Uint8Array(capacity);
    this.view = new DataView(this.bytes.buffer);
    this.fdColumns = noFds;
    this.fdCount = 0;
    this.#known = new Array(knownTexts).fill(undefined);
  }

  uint8(value: number): void {
    const at = this.pos;
    if (at + 1 > this.bytes.length) this.grow(1);
    this.bytes[at] = value;
    this.pos = at + 1;
  }

  uint16(value: number): void {
    const at = this.pos;
    if (at + 2 > this.bytes.length) this.grow(2);
    this.view.setUint16(at, value);
    this.pos = at + 2;
  }

  uint32(value: number): void {
    const at = this.pos;
    if (at + 4 > this.bytes.length) this.grow(4);
    this.view.setUint32(at, value);
    this.pos = at + 4;
  }

  uint64(value: bigint): void {
    const at = this.pos;
    if (at + 8 > this.bytes.length) this.grow(8);
    this.view.setBigUint64(at, value);
    this.pos = at + 8;
  }

  float64(value: number): void {
    const at = this.pos;
    if (at + 8 > this.bytes.length) this.grow(8);
    this.view.setFloat64(at, value);
    this.pos = at + 8;
  }

  buffer(value: Uint8Array): void {
    const at = this.pos;
    if (at + value.length > this.bytes.length) this.grow(value.length);
    this.bytes.set(value, at);
    this.pos = at + value.length;
  }

  /** `length` zero bytes. */
  zeros(length: number): void {
    const at = this.pos;
    if (at + length > this.bytes.length) this.grow(length);
    this.bytes.fill(0, at, at + length);
    this.pos = at + length;
  }

  /** Text without a length (text.ts); returns the bytes written. */
  text(value: string): number {
    const at = this.pos;
    // Most names are ASCII: make room for the worst case of UTF-8 once, instead of measuring first.
    if (at + value.length * 3 > this.bytes.length) this.grow(value.length * 3);
    this.pos = encodeText(value, this.bytes, at);
    return this.pos - at;
  }

  /** Text with a NUL after it; returns the bytes written. Throws ERR_VALUE if `value` holds a NUL. */
  cstring(value: string): number {
    const at = this.pos;
    // Room also for the last word of a copy.
    if (at + value.length * 3 + 8 > this.bytes.length) this.grow(value.length * 3 + 8);
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
    if (isCopied(this.bytes, at, length)) this.#known[slot] = { start: at, length, text: value };
    return length;
  }

  /**
   * As {@link cstring}, but returns -1 instead of throwing.
   * @internal
   */
  tryCstring(value: string): number {
    const known = this.#known[value.length & (knownTexts - 1)];
    if (known !== undefined && known.text === value && this.pos + value.length * 3 + 8 <= this.bytes.length) {
      this.#repeat(known.start, known.length);
      return known.length;
    }
    try {
      return this.cstring(value);
    } catch {
      return -1;
    }
  }

  /** Writes the `length` bytes at `start` once more: eight at a time, the last word may write too many. */
  #repeat(start: number, length: number): void {
    const view = this.view;
    const at = this.pos;
    for (let i = 0; i < length; i += 8) view.setFloat64(at + i, view.getFloat64(start + i));
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
    const at = this.fdCount * 2;
    if (at === this.fdColumns.length) this.growFds();
    this.fdColumns[at] = this.pos - 1;
    this.fdColumns[at + 1] = fd;
    this.fdCount += 1;
  }

  /** What was written. The writer must not be used after it. */
  finish(): Output {
    const { fdColumns, fdCount } = this;
    let fds: readonly PassedFd[] | undefined;
    return {
      bytes: this.bytes.subarray(0, this.pos),
      get fds() {
        fds ??= listed(fdColumns, fdCount);
        return fds;
      },
    };
  }

  /**
   * Room for `length` more bytes. Whoever writes asks first: most writes need none.
   * @internal
   */
  grow(length: number): void {
    const bytes = new Uint8Array(Math.max(this.pos + length, this.bytes.length * 2));
    bytes.set(this.bytes.subarray(0, this.pos));
    this.bytes = bytes;
    this.view = new DataView(bytes.buffer);
  }

  /** @internal */
  growFds(): void {
    const columns = new Float64Array(Math.max(64, this.fdColumns.length * 2));
    columns.set(this.fdColumns);
    this.fdColumns = columns;
  }

  /**
   * Goes back to `pos`, as if nothing had been written after it.
   * @internal
   */
  back(pos: number): false {
    this.pos = pos;
    // They may be of what is gone now.
    this.#known.fill(undefined);
    return false;
  }
}

/** Whether words of eight bytes keep their bits as doubles: not those of a NaN, which JavaScript may change. */
function isCopied(bytes: Uint8Array, start: number, length: number): boolean {
  for (let i = 0; i < length; i += 8) if (((bytes[start + i] as number) & 0x7f) === 0x7f) return false;
  return true;
}

const noFds = new Float64Array(0);

function listed(columns: Float64Array, count: number): PassedFd[] {
  return Array.from({ length: count }, (_, at) => ({
    offset: columns[at * 2] as number,
    fd: columns[at * 2 + 1] as number,
  }));
}
