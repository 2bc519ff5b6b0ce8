// Which program a process runs, by what it is: names say nothing, for a wrapper script starts another program, and a
// package's update puts another file in the same place.

import { createHash } from "node:crypto";
import { closeSync, fstatSync, openSync, readFileSync, readSync } from "node:fs";

/** A program's file. */
export interface ProgramFile {
  readonly dev: bigint;
  readonly ino: bigint;
  /** Which build it is: the linker's build id (ld(1), --build-id), and of a program without one the SHA-256 of its file. */
  readonly build: string;
}

/** @param path such as /proc/PID/exe, which leads to the file also after it was removed. @throws {Error} of the system */
export function programFile(path: string): ProgramFile {
  const fd = openSync(path, "r");
  try {
    const { dev, ino } = fstatSync(fd, { bigint: true });
    return { dev, ino, build: buildId(fd) ?? `sha256:${createHash("sha256").update(readFileSync(fd)).digest("hex")}` };
  } finally {
    closeSync(fd);
  }
}

/** The same file, or a copy of it, or the same build once more. */
export function isSameProgram(a: ProgramFile, b: ProgramFile): boolean {
  return (a.dev === b.dev && a.ino === b.ino) || a.build === b.build;
}

const header = { bytes: 64, magic: 0x7f454c46, phoff: 0x20, phentsize: 0x36, phnum: 0x38 };
const segment = { note: 4, offset: 8, filesz: 32, bytes: 56 };
/** NT_GNU_BUILD_ID of elf(5). */
const buildIdNote = 3;
const maxNoteBytes = 65_536;

/** Of a little-endian 64-bit ELF file, as on x86-64 and arm64; undefined for what has none. */
function buildId(fd: number): string | undefined {
  const start = readAt(fd, 0, header.bytes);
  if (start === undefined || start.readUInt32BE(0) !== header.magic || start[4] !== 2 || start[5] !== 1)
    return undefined;
  const [at, size] = [Number(start.readBigUInt64LE(header.phoff)), start.readUInt16LE(header.phentsize)];
  if (size < segment.bytes) return undefined;
  for (let i = 0; i < start.readUInt16LE(header.phnum); i++) {
    const part = readAt(fd, at + i * size, segment.bytes);
    if (part?.readUInt32LE(0) !== segment.note) continue;
    const length = Number(part.readBigUInt64LE(segment.filesz));
    const notes = length > maxNoteBytes ? undefined : readAt(fd, Number(part.readBigUInt64LE(segment.offset)), length);
    const id = notes === undefined ? undefined : buildIdIn(notes);
    if (id !== undefined) return id;
  }
  return undefined;
}

function buildIdIn(notes: Buffer): string | undefined {
  const padded = (length: number) => (length + 3) & ~3;
  for (let at = 0; at + 12 <= notes.length; ) {
    const [name, content] = [notes.readUInt32LE(at), notes.readUInt32LE(at + 4)];
    const begin = at + 12 + padded(name);
    if (begin + content > notes.length) return undefined;
    const isIt = notes.readUInt32LE(at + 8) === buildIdNote && notes.toString("latin1", at + 12, at + 16) === "GNU\0";
    if (isIt && content > 0) return notes.toString("hex", begin, begin + content);
    at = begin + padded(content);
  }
  return undefined;
}

function readAt(fd: number, position: number, length: number): Buffer | undefined {
  const bytes = Buffer.alloc(length);
  return readSync(fd, bytes, 0, length, position) === length ? bytes : undefined;
}
