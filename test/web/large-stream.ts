// A stream of some GiB, made on the spot: real devices behind guest RAM that is a hole in the file. So that it takes little
// of the disk, a page of guest RAM has 1 MiB.

import { closeSync, ftruncateSync, openSync, readFileSync, writeSync } from "node:fs";
import { join } from "node:path";
import { readMigrationBytes } from "../../src/migration/index.ts";
import {
  be32,
  blockList,
  bytes,
  configuration,
  counted,
  entry,
  eos,
  footer,
  further,
  header,
} from "../migration/build.ts";
import { repoRoot } from "../support/cli.ts";

const capture = join(repoRoot, "test/fixtures/migration/cpr-main-pc-linux-nvme-11.1.mig");
const pageSize = 2 ** 20;

/** What is in it. */
export interface LargeStream {
  readonly size: number;
  readonly pages: number;
  /** Labels of its devices' sections, in order. */
  readonly devices: readonly string[];
}

/** Writes the file; every eighth page is one of zeros, which takes a byte. */
export function writeLargeStream(path: string, pages: number): LargeStream {
  const source = new Uint8Array(readFileSync(capture));
  const { sections, vmdescription, size } = readMigrationBytes(source);
  const full = sections.filter(({ type }) => type === "full");
  const ram = sections.find(({ type, name }) => type === "start" && name === "ram");
  const [first] = full;
  if (first === undefined || ram === undefined || vmdescription === undefined) throw new Error("another capture");
  const fd = openSync(path, "w");
  let at = 0;
  const add = (part: Uint8Array): void => {
    writeSync(fd, part, 0, part.length, at);
    at += part.length;
  };
  try {
    add(bytes(header, configuration("pc-i440fx-11.1")));
    add(entry(1, ram.id, "ram", bytes(blockList([["pc.ram", pages * pageSize]]), eos), { version: 4 }));
    for (let page = 0; page < pages; page++) {
      const isZero = page % 8 === 7;
      add(bytes(2, be32(ram.id), BigInt(page * pageSize) | (isZero ? 2n : 8n), counted("pc.ram"), isZero ? 0 : []));
      // A hole; its first bytes tell which page it is.
      if (!isZero) {
        writeSync(fd, be32(page), 0, 4, at);
        at += pageSize;
      }
      add(bytes(eos, footer(ram.id)));
    }
    add(further(3, ram.id, bytes(eos)));
    add(source.subarray(first.offset, vmdescription.offset));
    const json = vmdescription.text.replace(/"page_size": ?\d+/, `"page_size": ${pageSize}`);
    if (json === vmdescription.text) throw new Error("the description has no page size");
    add(bytes(6, be32(json.length), json));
    ftruncateSync(fd, at);
  } finally {
    closeSync(fd);
  }
  if (at < size) throw new Error("it is not large");
  return {
    size: at,
    pages,
    devices: full.map(({ name, instance }) => (instance === 0 ? name : `${name}(${instance})`)),
  };
}
