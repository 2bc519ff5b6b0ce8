// The kinds of one value in a few bytes: how each is read, checked and written.

import type { ScalarKind } from "../recipes.ts";

interface Scalar {
  readonly size: number;
  /** Reads the bytes at `at`. */
  readonly read: (at: string) => string;
  /** When what was read is wrong. */
  readonly wrong?: (raw: string) => string;
  /** The value of what was read. Default: itself. */
  readonly value?: (raw: string) => string;
  /** When a value cannot be written. */
  readonly misfit: (value: string) => string;
  readonly write: (at: string, value: string) => string;
}

const number = (test: (value: string) => string) => (value: string) =>
  `typeof ${value} !== "number" || ${test(value)} !== ${value}`;

const allOnes = "18446744073709551615n";

export const scalars: Readonly<Record<ScalarKind, Scalar>> = {
  uint8: {
    size: 1,
    read: (at) => `b[${at}]`,
    misfit: number((x) => `(${x} & 255)`),
    write: (at, x) => `b[${at}] = ${x};`,
  },
  int8: {
    size: 1,
    read: (at) => `v.getInt8(${at})`,
    misfit: number((x) => `(${x} << 24) >> 24`),
    write: (at, x) => `b[${at}] = ${x} & 255;`,
  },
  uint16: {
    size: 2,
    read: (at) => `v.getUint16(${at})`,
    misfit: number((x) => `(${x} & 65535)`),
    write: (at, x) => `v.setUint16(${at}, ${x});`,
  },
  int16: {
    size: 2,
    read: (at) => `v.getInt16(${at})`,
    misfit: number((x) => `(${x} << 16) >> 16`),
    write: (at, x) => `v.setInt16(${at}, ${x});`,
  },
  uint32: {
    size: 4,
    read: (at) => `v.getUint32(${at})`,
    misfit: number((x) => `${x} >>> 0`),
    write: (at, x) => `v.setUint32(${at}, ${x});`,
  },
  int32: {
    size: 4,
    read: (at) => `v.getInt32(${at})`,
    misfit: number((x) => `(${x} | 0)`),
    write: (at, x) => `v.setInt32(${at}, ${x});`,
  },
  positive: {
    size: 4,
    read: (at) => `v.getInt32(${at})`,
    wrong: (raw) => `${raw} < 0`,
    misfit: (x) => `typeof ${x} !== "number" || (${x} | 0) !== ${x} || ${x} < 0`,
    write: (at, x) => `v.setInt32(${at}, ${x});`,
  },
  uint64: {
    size: 8,
    read: (at) => `v.getBigUint64(${at})`,
    misfit: (x) => `typeof ${x} !== "bigint" || BigInt.asUintN(64, ${x}) !== ${x}`,
    write: (at, x) => `v.setBigUint64(${at}, ${x});`,
  },
  int64: {
    size: 8,
    read: (at) => `v.getBigInt64(${at})`,
    misfit: (x) => `typeof ${x} !== "bigint" || BigInt.asIntN(64, ${x}) !== ${x}`,
    write: (at, x) => `v.setBigInt64(${at}, ${x});`,
  },
  bool: {
    size: 1,
    read: (at) => `b[${at}]`,
    wrong: (raw) => `${raw} > 1`,
    value: (raw) => `${raw} === 1`,
    misfit: (x) => `typeof ${x} !== "boolean"`,
    write: (at, x) => `b[${at}] = ${x} ? 1 : 0;`,
  },
  timer: {
    size: 8,
    read: (at) => `v.getBigUint64(${at})`,
    value: (raw) => `${raw} === ${allOnes} ? null : ${raw}`,
    misfit: (x) => `${x} !== null && (typeof ${x} !== "bigint" || ${x} < 0n || ${x} >= ${allOnes})`,
    write: (at, x) => `v.setBigUint64(${at}, ${x} === null ? ${allOnes} : ${x});`,
  },
  // The bits of a NaN, and bits that are given as such, are the engine's.
  double: {
    size: 8,
    read: (at) => `v.getFloat64(${at})`,
    wrong: (raw) => `${raw} !== ${raw}`,
    misfit: (x) => `typeof ${x} !== "number" || ${x} !== ${x}`,
    write: (at, x) => `v.setFloat64(${at}, ${x});`,
  },
};
