// Names, ids and orders that every case uses, cprkit's and the C peers' alike: always the same for one size.

import { writeFileSync } from "node:fs";
import { type FdKey, realisticKeys } from "../../dist/cli/demo/names.js";

/**
 * The first `count` keys: a QEMU with many VFIO devices, and among them memory backends with a name of their own and
 * migrated ids, which are sparse and every other one negative. No key twice.
 */
export function benchKeys(count: number): FdKey[] {
  return realisticKeys(count).map((key, at) => {
    // An odd factor is one-to-one on 32 bits: no id comes twice.
    if (at % 40 === 39) return { name: "vhost-user-migrated", id: Math.imul(at, 0x9e3779b1) };
    if (at % 61 === 60) return { name: `/objects/mem${at}`, id: 0 };
    return key;
  });
}

/** A random order of look-up, always the same: each index from 0 to `count` - 1 once. */
export function lookUpOrder(count: number): Uint32Array {
  const order = Uint32Array.from({ length: count }, (_, at) => at);
  let seed = 12345;
  for (let at = count - 1; at > 0; at--) {
    seed = (seed * 48271) % 0x7fffffff;
    const other = seed % (at + 1);
    const moved = order[at] as number;
    order[at] = order[other] as number;
    order[other] = moved;
  }
  return order;
}

/** `text` as a string object of its own: the same characters, but nothing shared with `text`. */
export function ownString(text: string): string {
  return Buffer.from(text, "latin1").toString("latin1");
}

/** Writes the files that the C peers take with -f and -p (bench/peers/README.md). `inOrder`: the order of saving. */
export function writePeerFiles(count: number, namesPath: string, orderPath: string, inOrder = false): void {
  const lines = benchKeys(count).map(({ name, id }) => `${id}\t${name}\n`);
  writeFileSync(namesPath, lines.join(""));
  const order = inOrder ? Uint32Array.from({ length: count }, (_, at) => at) : lookUpOrder(count);
  const bytes = Buffer.alloc(count * 4);
  for (const [at, line] of order.entries()) bytes.writeUInt32LE(line, at * 4);
  writeFileSync(orderPath, bytes);
}
