// Takes off what people's tools put around a stream: compression, libvirt's header, a qcow2 image, something before it.
// Uses nothing of Node or of a browser: who calls says how compressed bytes are decompressed there.

import type { ByteSource, MigrationSource } from "../../migration/index.ts";
import { isByteSource } from "../../migration/stream/source.ts";
import { CprkitError } from "../../vmstate/error.ts";
import { tooLong } from "../too-long.ts";
import { type Compression, compressionOf } from "./compression.ts";
import { isLibvirtSave, type LibvirtSave, readLibvirtSave } from "./libvirt.ts";
import { isQcow2, readQcow2, type Snapshot } from "./qcow2.ts";
import { bytesAt, chunksOf, peek, rewindable, type Stage } from "./stage.ts";
import { hexText, latin1 } from "./text.ts";
import { returnPathMessages, unreadable } from "./unreadable.ts";

/** One thing that is around a stream. */
export type Wrapping =
  | { readonly kind: Compression; readonly offset: number }
  | { readonly kind: "libvirt-save"; readonly offset: number; readonly size: number; readonly save: LibvirtSave }
  | { readonly kind: "qcow2"; readonly offset: number; readonly snapshot: Snapshot }
  | {
      readonly kind: "bytes-before";
      readonly offset: number;
      readonly size: number;
      /** Messages of the return path, if they are nothing else. */
      readonly returnPath: readonly string[];
    };

/** How {@link peel} looks. */
export interface UnwrapOptions {
  /** Where the stream, or what is around it, begins in the file. Default 0. */
  readonly offset?: number | undefined;
  /** Name or id of the snapshot, if it is a qcow2 image. */
  readonly snapshot?: string | undefined;
}

/** What {@link peel} looks into. */
export type Peelable =
  | { readonly kind: "file"; readonly source: ByteSource; readonly name: string }
  | { readonly kind: "pipe"; readonly source: AsyncIterable<Uint8Array>; readonly name: string };

/** What was compressed, as it was. */
export interface Decompressed {
  /** Ends where the compressed bytes are damaged or end too early: what came before counts. */
  readonly chunks: AsyncIterable<Uint8Array>;
  /** What was wrong, then. */
  problem(): CprkitError | undefined;
}

/** Decompresses what is at the stage's place. */
export type Decompress = (name: Compression, stage: Stage) => Promise<Decompressed>;

/** What was found in a file or pipe. */
export interface Unwrapped {
  /** For `readMigration`. */
  readonly source: MigrationSource;
  /** For `readMigration`, too: where the stream begins in `source`. */
  readonly offset: number;
  /** Length of `source` in bytes, if it is known. */
  readonly size: number | undefined;
  /** The first bytes at `offset`, at most 8. */
  readonly start: Uint8Array;
  /** From the outside in. */
  readonly wrapping: readonly Wrapping[];
  /** The snapshots of a qcow2 image, of which none was named: there is nothing to read then. */
  readonly snapshots: readonly Snapshot[] | undefined;
  /** All bytes of what begins at `offset`; instead of `source`. Throws ERR_LIMIT if there are more than `limit`. */
  all(limit: number): Promise<Uint8Array>;
  /** What was wrong with the compression, once its end was reached. */
  problem(): CprkitError | undefined;
}

/** The first bytes tell what it is: 512 for tar's. */
const lookAt = 512;
/** A few: a compressed save, compressed again. */
const maxLayers = 8;
/** How far a stream is looked for behind something else: in what can be read again, and in what is kept for it. */
const searched = { placed: 64 * 1024 * 1024, passing: 1024 * 1024 } as const;
const searchStep = 1024 * 1024;

/**
 * Looks at what `input` begins with, and takes off what is around the stream. What is no stream is given as it is: see
 * `start`. Throws what the parts throw for a damaged header (ERR_BAD_STREAM, ERR_EOF, ERR_LIMIT); ERR_USAGE for a snapshot
 * that is not there; ERR_BAD_MAGIC for what is known, and can't be read.
 */
export async function peel(input: Peelable, options: UnwrapOptions, decompress: Decompress): Promise<Unwrapped> {
  const { offset = 0, snapshot } = options;
  const wrapping: Wrapping[] = [];
  const problems: (() => CprkitError | undefined)[] = [];
  const problem = () => problems.map((each) => each()).find((each) => each !== undefined);
  let stage: Stage =
    input.kind === "file"
      ? { kind: "placed", source: input.source, offset }
      : { kind: "passing", chunks: rewindable(input.source), offset };
  for (let layer = 0; layer < maxLayers; layer++) {
    const start: Uint8Array = await peek(stage, lookAt);
    const compression = compressionOf(start);
    if (compression !== undefined) {
      wrapping.push({ kind: compression, offset: stage.offset });
      const { chunks, problem: ofIt } = await decompress(compression, stage);
      problems.unshift(ofIt);
      stage = { kind: "passing", chunks: rewindable(chunks), offset: 0 };
      continue;
    }
    if (isLibvirtSave(start)) {
      const { save, size } = await readLibvirtSave(stage);
      wrapping.push({ kind: "libvirt-save", offset: stage.offset, size, save });
      stage = { ...stage, offset: stage.offset + size };
      continue;
    }
    if (isQcow2(start)) {
      if (stage.kind === "passing" || stage.offset > 0) {
        throw new CprkitError(
          "ERR_BAD_STREAM",
          "a qcow2 image can be read only as a file of its own: unpack it first",
          {
            offset: stage.offset,
          },
        );
      }
      const image = await readQcow2(stage.source);
      if (snapshot === undefined) return { ...found(stage, start), snapshots: image.snapshots };
      const wanted = chosen(image.snapshots, snapshot);
      wrapping.push({ kind: "qcow2", offset: 0, snapshot: wanted });
      stage = { kind: "placed", source: await image.state(wanted), offset: 0 };
      continue;
    }
    if (isStream(start, 0) || latin1(start).startsWith("QCPR")) return found(stage, start);
    const behind = await search(stage, start);
    if (behind === 0) return found(stage, start);
    const before = await peek(stage, Math.min(behind, 64 * 1024));
    wrapping.push({
      kind: "bytes-before",
      offset: stage.offset,
      size: behind,
      returnPath: behind <= before.length ? returnPathMessages(before) : [],
    });
    stage = { ...stage, offset: stage.offset + behind };
  }
  throw new CprkitError(
    "ERR_LIMIT",
    `there are more than ${maxLayers} layers around the stream: it was packed again and again`,
  );

  function found(last: Stage, first: Uint8Array): Unwrapped {
    return {
      source: last.kind === "placed" ? last.source : last.chunks,
      offset: last.offset,
      size: last.kind === "placed" ? last.source.size : undefined,
      start: first.subarray(0, 8),
      wrapping,
      snapshots: undefined,
      all: async (limit) => await collect(last, limit, input.name),
      problem,
    };
  }
}

/** ERR_BAD_MAGIC for what is no stream: it is named, where it is known. */
export async function notAStream({ source, offset, start, problem }: Unwrapped): Promise<CprkitError> {
  const damaged = problem();
  if (damaged !== undefined) return damaged;
  const first = isByteSource(source) ? await bytesAt(source, offset, lookAt) : start;
  const messages = returnPathMessages(first);
  const what =
    unreadable(first) ??
    (messages.length > 0
      ? `the return path of a migration (${[...new Set(messages)].join(", ")}), which holds no machine: give the other direction`
      : start.length === 0
        ? "an empty input"
        : hexText(start.subarray(0, 4)));
  return new CprkitError(
    "ERR_BAD_MAGIC",
    `expected a CPR state ("QCPR") or a migration stream ("QEVM"), found ${what}`,
    { offset },
  );
}

function chosen(snapshots: readonly Snapshot[], name: string): Snapshot {
  const wanted = snapshots.find((one) => one.name === name) ?? snapshots.find((one) => one.id === name);
  if (wanted === undefined) {
    const all = snapshots.map((one) => `"${one.name}"`).join(", ");
    throw new CprkitError(
      "ERR_USAGE",
      `the image has no snapshot "${name}": ${all === "" ? "it has none" : `its snapshots are ${all}`}`,
    );
  }
  if (wanted.stateSize === 0) {
    throw new CprkitError("ERR_USAGE", `the snapshot "${name}" is one of the disk alone: it holds no machine's state`);
  }
  return wanted;
}

/** Bytes before a stream that begins later; 0 if none was found. */
async function search(stage: Stage, start: Uint8Array): Promise<number> {
  if (unreadable(start) !== undefined || latin1(start.subarray(0, 4)) === multifdMagic) return 0;
  if (stage.kind === "passing") return Math.max(0, streamIn(await peek(stage, searched.passing)));
  for (let at = 0; at < searched.placed; at += searchStep) {
    // A few bytes more: a header at the step's end.
    const bytes = await bytesAt(stage.source, stage.offset + at, searchStep + headerSize);
    const behind = streamIn(bytes);
    if (behind >= 0) return at + behind;
    if (bytes.length < searchStep) break;
  }
  return 0;
}

const header = [0x51, 0x45, 0x56, 0x4d, 0, 0, 0, 3] as const;
/** And the first item. */
const headerSize = header.length + 1;
const multifdMagic = "\x11\x22\x33\x44";

function streamIn(bytes: Uint8Array): number {
  for (let at = bytes.indexOf(header[0]); at >= 0; at = bytes.indexOf(header[0], at + 1)) {
    if (!header.every((byte, index) => bytes[at + index] === byte)) continue;
    // A section, the configuration or a command.
    if ([1, 4, 7, 8].includes(bytes[at + header.length] ?? 0)) return at;
  }
  return -1;
}

/** A version that is not known, and a stream that is cut there, are the reader's to name. */
function isStream(bytes: Uint8Array, at: number): boolean {
  return latin1(bytes.subarray(at, at + 4)) === "QEVM";
}

async function collect(stage: Stage, limit: number, name: string): Promise<Uint8Array> {
  const parts: Uint8Array[] = [];
  let length = 0;
  for await (const chunk of chunksOf(stage)) {
    parts.push(chunk);
    length += chunk.length;
    if (length > limit) throw tooLong(name, limit);
  }
  const all = new Uint8Array(length);
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}
