// Opens a file: takes off what is around the stream, and reads what is in it; of a large stream the devices first.

import { maxCprStateBytes } from "../../cpr/limits.ts";
import { notAStream, peel, type Unwrapped } from "../../files/unwrap/peel.ts";
import { bytesAt } from "../../files/unwrap/stage.ts";
import { type Migration, readMigration } from "../../migration/index.ts";
import { isPageSizeDoubtful, withLikelySize } from "../../migration/page-size.ts";
import { isByteSource } from "../../migration/stream/source.ts";
import type { CprkitError } from "../../vmstate/error.ts";
import { shownCpr } from "./cpr.ts";
import { decompress } from "./decompress.ts";
import { problemOf, shownMigration } from "./plain.ts";
import type { From, Opened, OpenOptions, ShownCpr } from "./protocol.ts";
import { mapBlocks, type RamMap, ramMap } from "./ram-map.ts";
import { type LoadingSource, readAhead, sourceOf } from "./sources.ts";
import { unpacked } from "./unpack.ts";
import { wrappingText } from "./wrapping.ts";

/** A file that is open in the worker. */
export interface OpenDocument {
  readonly source: LoadingSource;
  readonly options: OpenOptions;
  readonly offset: number;
  migration: Migration | undefined;
  map: RamMap;
  /** Set while guest RAM is read. */
  reading: AbortController | undefined;
  readonly cpr: ShownCpr["report"] | undefined;
}

/** Streams up to this size are read as a whole at once. */
const small = 32 * 1024 * 1024;

/**
 * Opens a file. `onProgress` is told how many bytes came out of a compressed one, and how far the devices were looked for
 * where the description does not show their place. Throws for what is not a stream, and if `signal` gave it up.
 */
export async function openDocument(
  from: From,
  options: OpenOptions,
  signal: AbortSignal,
  onProgress: (what: "unpacking" | "reading", bytes: number) => void,
): Promise<{ readonly document: OpenDocument; readonly opened: Opened }> {
  const start = performance.now();
  const file = sourceOf(from);
  const { offset, snapshot, pageSize } = options;
  const found = await peel({ kind: "file", source: file, name: from.name }, { offset, snapshot }, decompress);
  const common = {
    name: from.name,
    fileSize: file.size,
    wrapping: found.wrapping.map(wrappingText),
    migration: undefined,
    cpr: undefined,
    snapshots: undefined,
    ramRead: false,
  };
  const took = () => performance.now() - start;
  if (found.snapshots !== undefined) {
    const snapshots = found.snapshots.map(({ id, name, time, stateSize }) => ({ id, name, time, stateSize }));
    const document = documentOf(file, options, 0);
    return { document, opened: { ...common, size: file.size, damage: undefined, snapshots, took: took() } };
  }
  const source = await placed(found, signal, (bytes) => onProgress("unpacking", bytes));
  const damage = plain(found.problem());
  const kind = kindOf(found);
  if (kind === undefined) throw await notAStream(found);
  const document = documentOf(source, options, found.offset);
  const shared = { ...common, size: source.size, damage };
  if (kind === "cpr") {
    const bytes = await bytesAt(source, found.offset, maxCprStateBytes);
    const { cpr, damage: ofCpr } = shownCpr(bytes);
    return {
      document: { ...document, cpr: cpr.report },
      opened: { ...shared, damage: damage ?? plain(ofCpr), cpr, took: took() },
    };
  }
  document.migration = await readMigration(readAhead(source, signal), {
    offset: found.offset,
    pageSize,
    toEnd: true,
    skipRam: true,
    onProgress: (bytes) => onProgress("reading", bytes),
  });
  const whole = source.size <= small;
  const migration = whole ? await readRam(document, signal, () => {}) : document.migration;
  return { document, opened: { ...shared, migration: shownMigration(migration), ramRead: whole, took: took() } };
}

/** Reads the stream once more, with guest RAM. Throws what the browser throws, and if `signal` gave it up. */
export async function readRam(
  document: OpenDocument,
  signal: AbortSignal,
  onProgress: (offset: number) => void,
): Promise<Migration> {
  document.map = ramMap(mapBlocks(document.migration?.ram));
  const migration = await readMigration(readAhead(document.source, signal), {
    offset: document.offset,
    pageSize: document.options.pageSize,
    toEnd: true,
    onPlace: document.map.note,
    onProgress,
  });
  document.migration =
    document.options.pageSize === undefined && isPageSizeDoubtful(migration)
      ? await withLikelySize(migration, (pageSize) =>
          readMigration(readAhead(document.source, signal), { offset: document.offset, pageSize, toEnd: true }),
        )
      : migration;
  return document.migration;
}

function documentOf(source: LoadingSource, options: OpenOptions, offset: number): OpenDocument {
  return { source, options, offset, migration: undefined, map: ramMap(new Map()), reading: undefined, cpr: undefined };
}

/** What was compressed is unpacked first: then it can be read at any place, as a file. */
async function placed(
  found: Unwrapped,
  signal: AbortSignal,
  onUnpacked: (bytes: number) => void,
): Promise<LoadingSource> {
  return isByteSource(found.source)
    ? found.source
    : await unpacked(found.source as AsyncIterable<Uint8Array>, signal, onUnpacked);
}

function kindOf({ start }: Unwrapped): "cpr" | "migration" | undefined {
  const magic = String.fromCharCode(...start.subarray(0, 4));
  if (magic === "QCPR") return "cpr";
  // An extra channel of a multifd migration: the reader has the message for it.
  return magic === "QEVM" || magic === "\x11\x22\x33\x44" ? "migration" : undefined;
}

function plain(problem: CprkitError | undefined) {
  return problem === undefined ? undefined : problemOf(problem);
}
