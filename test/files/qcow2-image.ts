// Writes a qcow2 image with one snapshot that holds a machine's state, by hand, and with faults (QEMU 10.0
// docs/interop/qcow2.txt).

import { be16, be32, bytes, repeat } from "../migration/build.ts";

interface ImageOptions {
  readonly clusterBits?: number;
  readonly extendedL2?: boolean;
  readonly encryption?: number;
  /** More bits of the incompatible features. */
  readonly features?: bigint;
  /** What the snapshot claims, in place of the state's length. */
  readonly stateSize?: number;
  /** The second table, or the second cluster, is the first one again. */
  readonly circle?: boolean;
  /** A cluster is behind the image's end. */
  readonly nowhere?: boolean;
  readonly snapshots?: number;
}

/** Header, snapshots, table of the first level, tables of the second, clusters. The disk has one cluster, unused. */
export function qcow2(state: Uint8Array, options: ImageOptions = {}): Uint8Array {
  const { clusterBits = 9, extendedL2 = false, encryption = 0, features = 0n, snapshots = 1 } = options;
  const clusterSize = 2 ** clusterBits;
  const entrySize = extendedL2 ? 16 : 8;
  const perTable = clusterSize / entrySize;
  const clusters = Math.ceil(state.length / clusterSize);
  const tables = Math.ceil(clusters / perTable);
  const whole = (part: Uint8Array) => bytes(part, repeat(0, (clusterSize - (part.length % clusterSize)) % clusterSize));
  const listAt = clusterSize;
  const firstAt = 2 * clusterSize;
  const secondAt = firstAt + whole(repeat(0, 8 * (tables + 1))).length;
  const dataAt = secondAt + tables * clusterSize;
  const id = "7";
  const name = "before";
  const size = options.stateSize ?? state.length;
  const entry = bytes(
    BigInt(firstAt),
    be32(tables + 1),
    be16(id.length),
    be16(name.length),
    be32(1_700_000_000),
    be32(0),
    5_000_000_000n,
    be32(0),
    be32(16),
    BigInt(size),
    BigInt(clusterSize),
    id,
    name,
  );
  const used = 1n << 63n;
  const places = Array.from({ length: clusters }, (_, at) => dataAt + at * clusterSize);
  if (options.circle === true) places[1] = secondAt;
  if (options.nowhere === true) places[1] = 2 ** 40;
  const second = Array.from({ length: tables }, (_, table) =>
    whole(
      bytes(
        ...places
          .slice(table * perTable, (table + 1) * perTable)
          .map((place) => bytes(BigInt(place) | used, extendedL2 ? 0xffff_ffffn : [])),
      ),
    ),
  );
  const header = bytes(
    "QFI",
    0xfb,
    be32(3),
    0n,
    be32(0),
    be32(clusterBits),
    BigInt(clusterSize),
    be32(encryption),
    be32(0),
    0n,
    0n,
    be32(0),
    be32(snapshots),
    BigInt(listAt),
    features | (extendedL2 ? 16n : 0n),
    0n,
    0n,
    be32(4),
    be32(104),
  );
  return bytes(
    whole(header),
    whole(entry),
    whole(bytes(0n, ...second.map((_, table) => BigInt(secondAt + table * clusterSize) | used))),
    ...second,
    whole(state),
  );
}
