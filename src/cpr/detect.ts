// Which ABI a QCPR stream has, told from its bytes alone. Never a guess: QEMU's list reader takes a hash stream for an
// empty table without a word, and the guest wakes up in blank memory.

import { CprkitError } from "../vmstate/error.ts";
import type { FdForm } from "../vmstate/index.ts";
import { maxNameLength } from "./limits.ts";

/** How the fds are written in the stream: as QEMU's list (10.0 to 11.1) or as the hash table of RFC V2. */
export type CprAbi = "list" | "hash";

/** "QCPR" */
export const cprMagic = 0x51435052;
/** The version after the magic, the only one so far (QEMU 10.0 migration/cpr.c). */
export const cprVersion = 1;
/** Bytes of magic and version. */
export const headerLength = 8;

/** What {@link detectCprAbi} finds out about a stream. */
export interface Detected {
  readonly abi: CprAbi;
  /** "passed" also when there is no entry to tell it from: it makes no difference then. */
  readonly fdForm: FdForm;
  /** Byte offset of the first fd; undefined: there is none. */
  readonly firstFd: number | undefined;
}

/**
 * Tells the ABI and the form of the fds. Throws ERR_BAD_MAGIC, ERR_VERSION_TOO_NEW or ERR_VERSION_TOO_OLD for the
 * header, ERR_EOF if the stream is too short to tell, ERR_AMBIGUOUS_ABI if it is neither.
 */
export function detectCprAbi(bytes: Uint8Array): Detected {
  checkHeader(bytes);
  const body = headerLength;
  const first = bytes[body];
  if (first === undefined) throw cutShort(bytes, "the list of fds, or their count,");
  if (first === 1) return withEntries("list", bytes, body + 1);
  if (first !== 0) {
    throw neither(body, `expected 00 or 01 where the fds begin, found ${first.toString(16).padStart(2, "0")}`);
  }
  // 00 ends an empty list: nothing follows (10.0), or a subsection (10.1 on). Or it is the top of a count.
  if (bytes.length === body + 1 || subsectionAt(bytes, body + 1)) return empty("list");
  if (bytes.length < body + 5) throw cutShort(bytes, "a count of fds, or a subsection's name,");
  if (subsectionCutShort(bytes, body + 1)) throw cutShort(bytes, "the end of a subsection's name");
  const count = be32(bytes, body);
  const mark = bytes[body + 4];
  if (count === 0 && mark === 0) return empty("hash");
  if (count > 0 && mark === 1) return withEntries("hash", bytes, body + 5);
  throw neither(body, "these bytes are neither an empty list of fds nor a table of them");
}

function checkHeader(bytes: Uint8Array): void {
  if (bytes.length < headerLength) {
    const begin = [...bytes.subarray(0, 4)].every((byte, at) => byte === ((cprMagic >>> (24 - 8 * at)) & 0xff));
    if (begin) throw cutShort(bytes, 'the header ("QCPR" and a version)');
  }
  const magic = bytes.length >= 4 ? be32(bytes, 0) : 0;
  if (magic !== cprMagic) {
    const found = [...bytes.subarray(0, 4)].map((byte) => byte.toString(16).padStart(2, "0")).join("");
    throw new CprkitError("ERR_BAD_MAGIC", `not a CPR state: expected 51435052 ("QCPR"), found ${found}`, {
      offset: 0,
    });
  }
  const version = be32(bytes, 4);
  if (version !== cprVersion) {
    const code = version > cprVersion ? "ERR_VERSION_TOO_NEW" : "ERR_VERSION_TOO_OLD";
    throw new CprkitError(code, `expected version ${cprVersion} of the CPR stream, found ${version}`, { offset: 4 });
  }
}

// A subsection: 05, the length of its name, and the name, which begins with its owner's. A table never has these bytes
// there: read as the rest of a count and the mark after it, the mark would be "p".
const ownName = [..."CprState"].map((letter) => letter.charCodeAt(0));

function subsectionAt(bytes: Uint8Array, offset: number): boolean {
  return bytes[offset] === 0x05 && ownName.every((byte, at) => bytes[offset + 2 + at] === byte);
}

/** Whether the bytes from `offset` on begin a subsection, but end before its name does. */
export function subsectionCutShort(bytes: Uint8Array, offset: number): boolean {
  const length = bytes[offset + 1] ?? 255;
  const rest = bytes.subarray(offset + 2);
  return (
    bytes[offset] === 0x05 &&
    rest.length < length &&
    ownName.every((byte, at) => at >= rest.length || rest[at] === byte)
  );
}

function empty(abi: CprAbi): Detected {
  return { abi, fdForm: "passed", firstFd: undefined };
}

/** Tells the form of the fds from the one after the name whose length is at `offset`. */
function withEntries(abi: CprAbi, bytes: Uint8Array, offset: number): Detected {
  if (bytes.length < offset + 4) throw cutShort(bytes, "the length of a name");
  const length = be32(bytes, offset);
  if (length < 1 || length > maxNameLength) {
    throw neither(offset, `expected the length of a name, from 1 to ${maxNameLength}, found ${length}`);
  }
  const at = offset + 4 + length + 4;
  const byte = bytes[at];
  if (byte === undefined) throw cutShort(bytes, "the first fd");
  if (byte === 0x20) return { abi, fdForm: "passed", firstFd: at };
  // A number's first byte: fds stay far below 2^24.
  if (byte === 0x00) return { abi, fdForm: "number", firstFd: at };
  throw new CprkitError(
    "ERR_BAD_BYTE",
    `expected 20 (a passed fd) or 00 (the number of an fd), found ${byte.toString(16).padStart(2, "0")}`,
    { offset: at },
  );
}

function be32(bytes: Uint8Array, at: number): number {
  return new DataView(bytes.buffer, bytes.byteOffset + at, 4).getUint32(0);
}

/** The error for bytes that end too early. */
export function cutShort(bytes: Uint8Array, what: string): CprkitError {
  return new CprkitError("ERR_EOF", `the CPR state ends before ${what}`, { offset: bytes.length });
}

function neither(offset: number, reason: string): CprkitError {
  return new CprkitError("ERR_AMBIGUOUS_ABI", `${reason}: neither the list ABI nor the hash ABI`, { offset });
}
