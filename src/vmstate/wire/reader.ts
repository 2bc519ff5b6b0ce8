// Reads VMState's scalars from bytes and hands out the fds that came with them. Everything is big-endian.

import { CprkitError } from "../error.ts";
import { decodeText } from "./text.ts";

/** An fd that travels beside the bytes. `offset` is a byte offset into them; see {@link Reader.takeFd} for its rule. */
export interface PassedFd {
  readonly offset: number;
  readonly fd: number;
}

/**
 * How fds are written in the bytes (QEMU 10.2 migration/qemu-file.c):
 * - "passed": one byte 0x20 for each, the fd itself beside the bytes (cpr-transfer);
 * - "number": the fd's number as s32, nothing beside the bytes (cpr-exec).
 */
export type FdForm = "passed" | "number";

/** What {@link Reader} reads from. */
export interface Input {
  readonly bytes: Uint8Array;
  /**
   * The fds that came with the bytes, in the order of their arrival. Left out: they are unknown (a capture), and
   * each fd reads as {@link unknownFd}.
   */
  readonly fds?: readonly PassedFd[] | undefined;
  /** Default "passed". */
  readonly fdForm?: FdForm | undefined;
  /** Offset of `bytes[0]` in the whole stream, for error messages. Default 0. */
  readonly baseOffset?: number | undefined;
}

/** Stands for an fd of a stream that was read without its fds. */
export const unknownFd = -1;

/** Sees every field as it is loaded: the inspector is the same reader with this hook. */
export interface Observer {
  /**
   * A field, an element, a key, a value or a subsection begins at `offset`. `within` is the name of the description
   * whose body it is, if it is one.
   */
  enter(label: string | number, type: string, offset: number, within?: string): void;
  /** What was entered last ends before `offset`. */
  leave(offset: number, value: unknown): void;
}

/** Nesting beyond this is an attack or a mistake: QEMU's deepest real device stays below 20. */
export const maxDepth = 100;

interface KnownText {
  readonly start: number;
  readonly length: number;
  readonly text: string;
}

/** A power of two. */
const knownTexts = 16;

// A class, not closures: one hidden class keeps each call below monomorphic.
/**
 * Reads scalars (big-endian) from an input, for a field kind's `load`. `pos` is the index of the next byte in `bytes`. A
 * read throws ERR_EOF when the input ends before what it asks for.
 */
export class Reader {
  readonly bytes: Uint8Array;
  readonly end: number;
  readonly fdForm: FdForm;
  pos: number;
  depth: number;
  observer: Observer | undefined;
  /** Code that was made of descriptions may be used (cprkit/compile), where there is some. Default false. */
  compiled: boolean;
  /** @internal */
  readonly view: DataView;
  /** @internal */
  readonly base: number;
  /** @internal */
  readonly fds: readonly PassedFd[] | undefined;
  /** @internal */
  fdsTaken: number;
  /** Texts that were read, by the low bits of their length. */
  readonly #known: (KnownText | undefined)[];

  constructor(input: Input) {
    const { bytes } = input;
    this.bytes = bytes;
    this.end = bytes.length;
    this.fdForm = input.fdForm ?? "passed";
    this.pos = 0;
    this.depth = 0;
    this.observer = undefined;
    this.compiled = false;
    this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.base = input.baseOffset ?? 0;
    this.fds = input.fds;
    this.fdsTaken = 0;
    this.#known = new Array(knownTexts).fill(undefined);
  }

  /** Bytes not yet read. */
  get remaining(): number {
    return this.end - this.pos;
  }

  /** Offset of the next byte in the whole stream. */
  get offset(): number {
    return this.base + this.pos;
  }

  uint8(): number {
    if (this.pos >= this.end) throw this.eof(1);
    return this.bytes[this.pos++] as number;
  }

  int8(): number {
    return (this.uint8() << 24) >> 24;
  }

  uint16(): number {
    const at = this.#advance(2);
    return this.view.getUint16(at);
  }

  int16(): number {
    const at = this.#advance(2);
    return this.view.getInt16(at);
  }

  uint32(): number {
    const at = this.#advance(4);
    return this.view.getUint32(at);
  }

  int32(): number {
    const at = this.#advance(4);
    return this.view.getInt32(at);
  }

  uint64(): bigint {
    const at = this.#advance(8);
    return this.view.getBigUint64(at);
  }

  int64(): bigint {
    const at = this.#advance(8);
    return this.view.getBigInt64(at);
  }

  float64(): number {
    const at = this.#advance(8);
    return this.view.getFloat64(at);
  }

  /** The next `length` bytes as a view of the input (a copy is the caller's business). Throws ERR_EOF. */
  buffer(length: number): Uint8Array {
    const at = this.#advance(length);
    return this.bytes.subarray(at, at + length);
  }

  /** The next `length` bytes as text, without a loss (text.ts). Throws ERR_EOF. */
  text(length: number): string {
    const at = this.#advance(length);
    return decodeText(this.bytes, at, at + length);
  }

  /**
   * The next `length` bytes as text that ends with a NUL, which is not part of it, and holds none before.
   * Throws ERR_EOF, ERR_BAD_BYTE.
   */
  cstring(length: number): string {
    if (length > this.remaining) throw this.eof(length);
    const start = this.pos;
    const text = this.cstringAt(start, length);
    if (text !== undefined) {
      this.pos = start + length;
      return text;
    }
    const end = start + length - 1;
    if (this.bytes[end] !== 0) {
      this.pos = end;
      throw this.error("ERR_BAD_BYTE", "expected the final NUL of a text");
    }
    this.pos = this.bytes.indexOf(0, start);
    throw this.error("ERR_BAD_BYTE", "found a NUL before the end of a text");
  }

  /**
   * The `length` bytes at `start`, which the input has, as {@link cstring} gives them; undefined if they are no such text.
   * @internal
   */
  cstringAt(start: number, length: number): string | undefined {
    // Neighbours often have the same names (the vectors of one device): each is decoded once.
    const known = this.#known[length & (knownTexts - 1)];
    if (known?.length === length && this.#same(known.start, start, length)) return known.text;
    const end = start + length - 1;
    if (this.bytes[end] !== 0 || this.bytes.indexOf(0, start) < end) return undefined;
    const text = decodeText(this.bytes, start, end);
    this.#known[length & (knownTexts - 1)] = { start, length, text };
    return text;
  }

  /**
   * Whether the bytes of a text, which has a NUL at its end alone, are in another place too. Eight at a time, as doubles: it
   * is most of what reading a name costs. Only 0 and -0 are equal with other bits, and no text has seven NULs.
   */
  #same(a: number, b: number, length: number): boolean {
    const view = this.view;
    let at = 0;
    for (; at + 8 <= length; at += 8) if (view.getFloat64(a + at) !== view.getFloat64(b + at)) return false;
    if (at + 4 <= length) {
      if (view.getInt32(a + at) !== view.getInt32(b + at)) return false;
      at += 4;
    }
    for (let i = at; i < length; i++) if (this.bytes[a + i] !== this.bytes[b + i]) return false;
    return true;
  }

  /** Text with its length before it in one byte (QEMU's counted string). Throws ERR_EOF. */
  countedText(): string {
    return this.text(this.uint8());
  }

  /** A byte that must be 00 or 01; QEMU takes any other for true, here it is the best cheap sign of a lost place. */
  flag(what: string): boolean {
    const byte = this.uint8();
    if (byte > 1) throw this.error("ERR_BAD_BYTE", `expected 00 or 01 for ${what}, found ${hex(byte)}`, 1);
    return byte === 1;
  }

  /** The byte `ahead` bytes after the next one, or -1 past the end. Reads nothing. */
  peek(ahead = 0): number {
    const at = this.pos + ahead;
    return at < this.end ? (this.bytes[at] as number) : -1;
  }

  /**
   * Takes the fd that belongs to the byte just read. The k-th fd belongs to the k-th such byte; it must have arrived
   * with that byte or before it: early is fine, late is fatal (QEMU 10.0 migration/qemu-file.c keeps a queue that is
   * filled as bytes are read). Throws ERR_FD_MISSING.
   */
  takeFd(): number {
    if (this.fds === undefined) return unknownFd;
    const passed = this.fds[this.fdsTaken];
    const at = this.offset - 1;
    if (passed === undefined) {
      throw this.error(
        "ERR_FD_MISSING",
        `this byte stands for fd number ${this.fdsTaken + 1}, but only ${this.fds.length} came with the stream`,
        1,
      );
    }
    if (passed.offset > at) {
      throw this.error(
        "ERR_FD_MISSING",
        `the fd for this byte came late, with byte ${passed.offset}: the sender's fds and bytes are out of step`,
        1,
      );
    }
    this.fdsTaken += 1;
    return passed.fd;
  }

  /** Throws ERR_FD_SURPLUS if fds came that no byte stood for. */
  checkFdsTaken(): void {
    if (this.fds !== undefined && this.fdsTaken < this.fds.length) {
      throw this.error(
        "ERR_FD_SURPLUS",
        `${this.fds.length} fds came with the stream, but it has room for ${this.fdsTaken}`,
      );
    }
  }

  /** An error at the next byte, or `back` bytes before it. */
  error(code: CprkitError["code"], reason: string, back = 0): CprkitError {
    return new CprkitError(code, reason, { offset: this.offset - back });
  }

  eof(needed: number): CprkitError {
    return this.error(
      "ERR_EOF",
      `needed ${needed} byte${needed === 1 ? "" : "s"}, but ${this.remaining === 0 ? "the input ends here" : `only ${this.remaining} left`}`,
    );
  }

  #advance(length: number): number {
    const at = this.pos;
    if (length > this.end - at) throw this.eof(length);
    this.pos = at + length;
    return at;
  }
}

/** `byte` as two hex digits. */
export function hex(byte: number): string {
  return byte.toString(16).padStart(2, "0");
}
