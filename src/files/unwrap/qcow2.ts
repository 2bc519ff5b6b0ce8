// Snapshots in a qcow2 image that hold the state of a machine (`savevm`, `snapshot-save`, `virsh snapshot-create`): the
// stream is behind the disk's end, in clusters of its own (QEMU 10.0 docs/interop/qcow2.txt).

import type { ByteSource } from "../../migration/index.ts";
import { CprkitError } from "../../vmstate/error.ts";
import { decodeText } from "../../vmstate/wire/text.ts";
import { bytesAt } from "./stage.ts";
import { hexText } from "./text.ts";

/** A snapshot of an image. */
export interface Snapshot {
  /** Of its list in the image. */
  readonly id: string;
  /** As it was given when it was made. */
  readonly name: string;
  /** When it was made, in seconds since 1970, by the host's clock. */
  readonly time: number;
  /** How long the machine had run, in ns. */
  readonly clock: bigint;
  /** Bytes of machine state; 0 for a snapshot of the disk alone. */
  readonly stateSize: number;
}

/** A qcow2 image, as far as its snapshots need it. */
export interface Qcow2 {
  readonly snapshots: readonly Snapshot[];
  /** The state of a snapshot as a source of a migration stream. Throws ERR_BAD_STREAM. */
  state(snapshot: Snapshot): Promise<ByteSource>;
}

const magic = "514649fb";
/** QEMU 10.0 block/qcow2.h: QCOW_MAX_SNAPSHOTS. */
const maxSnapshots = 65536;
const offsetMask = 0x00ff_ffff_ffff_fe00n;
const compressed = 1n << 62n;
const allZero = 1n;
/** QEMU 10.0 block/qcow2.h: QCOW_MAX_L1_SIZE, in entries. */
const maxTables = (32 * 1024 * 1024) / 8;
/** Bits of the header's incompatible features. */
const feature = { dirty: 1n, corrupt: 2n, dataFile: 4n, compressionType: 8n, extendedL2: 16n } as const;

/** Whether a file begins like a qcow2 image. */
export function isQcow2(start: Uint8Array): boolean {
  return hexText(start.subarray(0, 4)) === magic;
}

/** Reads the header and the list of snapshots. Throws ERR_BAD_STREAM, ERR_EOF, ERR_LIMIT. */
export async function readQcow2(source: ByteSource): Promise<Qcow2> {
  const header = await exactly(source, 0, 72, "the header of a qcow2 image");
  const version = header.getUint32(4);
  if (version !== 2 && version !== 3) throw bad(`a qcow2 image of version ${version}; 2 and 3 are known`, 4);
  const more = version === 3 ? await exactly(source, 72, 32, "the header of a qcow2 image") : undefined;
  const features = more?.getBigUint64(0) ?? 0n;
  const unknown =
    features & ~(feature.dirty | feature.corrupt | feature.dataFile | feature.compressionType | feature.extendedL2);
  if (unknown !== 0n) throw bad(`a qcow2 image with features that are not known (0x${unknown.toString(16)})`, 72);
  if ((features & feature.dataFile) !== 0n) {
    throw bad("a qcow2 image whose data is in another file: the machine's state is there, and is not read", 72);
  }
  const encryption = header.getUint32(32);
  if (encryption !== 0) {
    const name = ["", "AES", "LUKS"][encryption] ?? `method ${encryption}`;
    throw bad(
      `an encrypted qcow2 image (${name}): the machine's state in it is encrypted, too, and is not read; load the snapshot in QEMU and migrate to a file`,
      32,
    );
  }
  const clusterBits = header.getUint32(20);
  if (clusterBits < 9 || clusterBits > 21) throw bad(`clusters of 2^${clusterBits} bytes`, 20);
  const layout: Layout = {
    clusterBits,
    entrySize: (features & feature.extendedL2) !== 0n ? 16 : 8,
    diskSize: header.getBigUint64(24),
  };
  const entries = await readSnapshots(source, header.getUint32(60), Number(header.getBigUint64(64)), layout);
  return {
    snapshots: entries.map(({ snapshot }) => snapshot),
    state: async (wanted) => {
      const entry = entries.find(({ snapshot }) => snapshot === wanted);
      if (entry === undefined) throw bad(`the snapshot "${wanted.name}" is not in this image`, 0);
      return await stateOf(source, entry, layout);
    },
  };
}

interface Layout {
  readonly clusterBits: number;
  /** Bytes of an entry of a table of the second level. */
  readonly entrySize: number;
  readonly diskSize: bigint;
}

interface Entry {
  readonly snapshot: Snapshot;
  readonly tableOffset: number;
  /** Entries of the table of the first level. */
  readonly tableLength: number;
  readonly diskSize: bigint;
}

async function readSnapshots(source: ByteSource, count: number, start: number, layout: Layout): Promise<Entry[]> {
  if (count > maxSnapshots) throw bad(`a qcow2 image with ${count} snapshots; QEMU allows ${maxSnapshots}`, 60);
  const entries: Entry[] = [];
  const what = "the list of snapshots";
  let at = start;
  for (let index = 0; index < count; index++) {
    const fixed = await exactly(source, at, 40, what);
    const extraSize = fixed.getUint32(36);
    const [idSize, nameSize] = [fixed.getUint16(12), fixed.getUint16(14)];
    if (extraSize > 1024) throw bad(`${extraSize} bytes of extra data of a snapshot`, at + 36);
    const rest = await exactly(source, at + 40, extraSize + idSize + nameSize, what);
    const text = (from: number, length: number) =>
      decodeText(new Uint8Array(rest.buffer, rest.byteOffset + from, length), 0, length);
    const size = extraSize >= 8 ? rest.getBigUint64(0) : BigInt(fixed.getUint32(32));
    if (size > BigInt(Number.MAX_SAFE_INTEGER)) throw bad("the state of a snapshot has an impossible length", at + 32);
    entries.push({
      snapshot: {
        id: text(extraSize, idSize),
        name: text(extraSize + idSize, nameSize),
        time: fixed.getUint32(16),
        clock: fixed.getBigUint64(24),
        stateSize: Number(size),
      },
      tableOffset: Number(fixed.getBigUint64(0)),
      tableLength: fixed.getUint32(8),
      diskSize: extraSize >= 16 ? rest.getBigUint64(8) : layout.diskSize,
    });
    at += (40 + extraSize + idSize + nameSize + 7) & ~7;
  }
  return entries;
}

/** The clusters behind the end of the disk. Each cluster of the file is used once: tables that point in circles are seen. */
async function stateOf(source: ByteSource, entry: Entry, layout: Layout): Promise<ByteSource> {
  const { snapshot, tableOffset, tableLength } = entry;
  const clusterSize = 2 ** layout.clusterBits;
  const perTable = clusterSize / layout.entrySize;
  const covered = clusterSize * perTable;
  const first = Number((entry.diskSize + BigInt(covered) - 1n) / BigInt(covered));
  const isNew = firstUses();
  const claim = (cluster: number, at: number): number => {
    if (cluster % clusterSize !== 0 || cluster + 1 > source.size) {
      throw bad(`a table points to 0x${cluster.toString(16)}, where the image has no cluster`, at);
    }
    if (!isNew(cluster / clusterSize)) {
      throw bad(`a table points to the cluster at 0x${cluster.toString(16)}, which is in use already`, at);
    }
    return cluster;
  };
  const tables = Math.ceil(snapshot.stateSize / covered);
  if (tables > maxTables)
    throw bad(`the snapshot "${snapshot.name}" claims ${snapshot.stateSize} bytes of state`, tableOffset);
  if (first + tables > tableLength) {
    throw bad(
      `the snapshot "${snapshot.name}" claims ${snapshot.stateSize} bytes of state, for which its table is too short`,
      tableOffset,
    );
  }
  // Places of all clusters, known before the first byte is given: what is wrong is said at once.
  const places: Float64Array[] = [];
  const l1 = await exactly(source, tableOffset + 8 * first, 8 * tables, "a snapshot's table");
  for (let index = 0; index < tables; index++) {
    const at = tableOffset + 8 * (first + index);
    const table = Number(l1.getBigUint64(8 * index) & offsetMask);
    const wanted = Math.min(perTable, Math.ceil(snapshot.stateSize / clusterSize) - index * perTable);
    if (table === 0) throw bad(`a part of the state of the snapshot "${snapshot.name}" is missing`, at);
    claim(table, at);
    const l2 = await exactly(source, table, layout.entrySize * wanted, "a table of clusters");
    const places2 = new Float64Array(wanted);
    for (let each = 0; each < wanted; each++) {
      const where = table + layout.entrySize * each;
      const word = l2.getBigUint64(layout.entrySize * each);
      if ((word & compressed) !== 0n) throw bad("a compressed cluster in a machine's state, which is not read", where);
      const place = Number(word & offsetMask);
      const empty = place === 0 || (layout.entrySize === 8 && (word & allZero) !== 0n);
      places2[each] = empty ? 0 : claim(place, where);
    }
    places.push(places2);
  }
  return {
    size: snapshot.stateSize,
    read: (offset, target) => {
      const inCluster = offset % clusterSize;
      const length = Math.min(target.length, clusterSize - inCluster, snapshot.stateSize - offset);
      if (length <= 0) return 0;
      const index = Math.floor(offset / clusterSize);
      const place = places[Math.floor(index / perTable)]?.[index % perTable] ?? 0;
      const part = target.subarray(0, length);
      if (place !== 0) return source.read(place + inCluster, part);
      part.fill(0);
      return length;
    },
  };
}

/** Tells for each number whether it comes for the first time. Memory follows the numbers, not the file, which may be sparse. */
function firstUses(): (index: number) => boolean {
  const parts = new Map<number, Uint8Array>();
  return (index) => {
    const at = Math.floor(index / numbersPerPart);
    let part = parts.get(at);
    if (part === undefined) {
      part = new Uint8Array(numbersPerPart / 8);
      parts.set(at, part);
    }
    const place = index % numbersPerPart;
    const bit = 1 << (place & 7);
    const isNew = ((part[place >> 3] as number) & bit) === 0;
    part[place >> 3] = (part[place >> 3] as number) | bit;
    return isNew;
  };
}

const numbersPerPart = 512;

async function exactly(source: ByteSource, offset: number, length: number, what: string): Promise<DataView> {
  const end = source.size;
  if (!(offset + length <= end)) throw new CprkitError("ERR_EOF", `the input ends in ${what}`, { offset: end });
  const bytes = await bytesAt(source, offset, length);
  if (bytes.length < length) throw new CprkitError("ERR_EOF", `the input ends in ${what}`, { offset: end });
  return new DataView(bytes.buffer, bytes.byteOffset, length);
}

function bad(reason: string, offset: number): CprkitError {
  return new CprkitError("ERR_BAD_STREAM", reason, { offset });
}
