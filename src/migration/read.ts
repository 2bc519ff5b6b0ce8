// Reads a migration stream: the entry of this folder.

import { CprkitError } from "../vmstate/error.ts";
import { textBytes } from "../vmstate/wire/text.ts";
import type { Migration, OnRamPlace, RamPage } from "./model.ts";
import { locateDevices } from "./stream/devices.ts";
import { bytesSource, isByteSource, type MigrationSource } from "./stream/source.ts";
import { type FoundDescription, found, locateDescription } from "./stream/vmdescription.ts";
import { walkStream } from "./stream/walk.ts";
import { drive, driveOnBytes, sourceFeed, streamFeed, Window } from "./stream/window.ts";

/** How a migration stream is read. */
export interface ReadMigrationOptions {
  /** Where the stream begins in a file (`file:PATH,offset=N`), in bytes. Default 0. On a pipe, that many bytes are skipped. */
  readonly offset?: number | undefined;
  /** Called for every page of guest RAM. Without it pages are counted and stepped over. */
  readonly onPage?: ((page: RamPage) => void) | undefined;
  /**
   * Called for every page of guest RAM with its place in the input. Unlike with `onPage`, no page's content is asked for, so
   * compressed pages are no error, and mapped-ram's pages are not read.
   */
  readonly onPlace?: OnRamPlace | undefined;
  /**
   * Of a file or bytes: go from the list of RAM blocks to the devices at once, where the description at the input's end
   * shows where these begin. Guest RAM is not counted then. Where it does not show, the stream is read as without this.
   */
  readonly skipRam?: boolean | undefined;
  /** Called now and then with the offset in bytes that was reached. */
  readonly onProgress?: ((offset: number) => void) | undefined;
  /** Guest page size in bytes, for a stream that does not state it. Default: what the stream says, else 4096. */
  readonly pageSize?: number | undefined;
  /** JSON description of another stream of the same machine, for a stream that lost its own. */
  readonly vmdesc?: string | undefined;
  /** Read a pipe on to its end, to know what follows the stream. Of bytes and files this is known anyhow. */
  readonly toEnd?: boolean | undefined;
  /**
   * Bytes of devices' states that may be kept, for an input that was compressed: what it unpacks to costs nobody anything
   * to make. Beyond that, reading stops with ERR_LIMIT. Default: no limit, as a stream has to have the bytes that it claims.
   */
  readonly maxState?: number | undefined;
}

/**
 * Reads a migration stream (QEVM) from bytes, a file or a pipe. Memory does not grow with guest RAM: pages are not kept.
 *
 * A file's JSON description is looked for at its end first, so that each section is decoded as it passes. On a pipe the
 * devices' sections are kept until the JSON arrives, at most 64 MiB; beyond that, sections stay undecoded.
 *
 * What is wrong in the stream is in the result, with byte offset and field: `stopped` if reading ended there, else
 * `problems`. Throws only for what is not a migration stream: ERR_BAD_MAGIC, ERR_VERSION_TOO_OLD, ERR_VERSION_TOO_NEW;
 * ERR_VALUE for an offset that is not a whole number from 0 on; ERR_BAD_STREAM, ERR_DEPTH or ERR_LIMIT for a damaged
 * `vmdesc`; and what the source or `onPage` throws. Source of the format: QEMU 10.0 migration/savevm.c.
 */
export async function readMigration(source: MigrationSource, options: ReadMigrationOptions = {}): Promise<Migration> {
  if (source instanceof Uint8Array) return readMigrationBytes(source, options);
  const offset = startOf(options);
  const w = new Window(offset);
  if (isByteSource(source)) {
    const known = given(options) ?? (await locateDescription(source, offset));
    const walk = { ...options, inputSize: source.size };
    if (options.skipRam === true && known !== undefined) {
      const devicesAt = await locateDevices(source, known, offset);
      const short = new Window(offset);
      const devices =
        devicesAt === undefined
          ? undefined
          : await drive(walkStream(short, { ...walk, devicesAt }, known), short, sourceFeed(source));
      if (devices?.complete === true && !isAnothers(devices, known, options)) return devices;
    }
    const migration = await drive(walkStream(w, walk, known), w, sourceFeed(source), options.onProgress);
    if (!isAnothers(migration, known, options)) return migration;
    const again = new Window(offset);
    return await drive(
      walkStream(again, { ...walk, onPage: undefined, onPlace: undefined }, undefined),
      again,
      sourceFeed(source),
    );
  }
  w.base = 0;
  w.pos = offset;
  return await drive(walkStream(w, options, given(options)), w, streamFeed(source), options.onProgress);
}

/** As {@link readMigration}, for a stream that is in memory as a whole; without a promise. Throws the same. */
export function readMigrationBytes(bytes: Uint8Array, options: ReadMigrationOptions = {}): Migration {
  const offset = startOf(options);
  const w = new Window(offset);
  // Bytes are read at once, so no promise comes back.
  const known = given(options) ?? (locateDescription(bytesSource(bytes), offset) as FoundDescription | undefined);
  const walk = { ...options, inputSize: bytes.length };
  const migration = driveOnBytes(walkStream(w, walk, known), w, bytes);
  if (!isAnothers(migration, known, options)) return migration;
  const again = new Window(offset);
  return driveOnBytes(walkStream(again, { ...walk, onPage: undefined, onPlace: undefined }, undefined), again, bytes);
}

/** True if the description that was found at the input's end is that of another stream, behind this one. */
function isAnothers(
  migration: Migration,
  known: FoundDescription | undefined,
  { vmdesc }: ReadMigrationOptions,
): boolean {
  const end = migration.vmdescription?.offset;
  return vmdesc === undefined && known !== undefined && migration.complete && end !== known.vmdescription.offset;
}

function startOf({ offset = 0 }: ReadMigrationOptions): number {
  if (Number.isSafeInteger(offset) && offset >= 0) return offset;
  throw new CprkitError("ERR_VALUE", `expected the stream's offset as a whole number from 0 on, found ${offset}`);
}

function given({ vmdesc }: ReadMigrationOptions): FoundDescription | undefined {
  if (vmdesc === undefined) return undefined;
  const description = found(textBytes(vmdesc), 0);
  if (description.problem !== undefined) throw description.problem;
  return description;
}
