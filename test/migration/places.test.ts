// Where pages are in a stream, and the way to the devices past them.

import { expect, test } from "vitest";
import { migrationToJson, type OnRamPlace, readMigration, readMigrationBytes } from "../../src/migration/index.ts";
import { be32, blockList, bytes, configuration, counted, device, end, entry, eos, further, header } from "./build.ts";
import { listMigrationCaptures } from "./captures.ts";

const source = (all: Uint8Array) => {
  const reads: [number, number][] = [];
  return {
    reads,
    size: all.length,
    read: async (offset: number, target: Uint8Array) => {
      const part = all.subarray(offset, offset + target.length);
      target.set(part);
      reads.push([offset, part.length]);
      return part.length;
    },
  };
};

test.each(listMigrationCaptures())("$name: the devices are the same without RAM", async ({ bytes: all, offset }) => {
  const whole = readMigrationBytes(all, { offset });
  const short = await readMigration(source(all), { offset, skipRam: true });
  const devices = ({ sections }: ReturnType<typeof migrationToJson>) =>
    (sections as readonly { readonly type: string }[]).filter(({ type }) => type === "full");
  expect(devices(migrationToJson(short))).toEqual(devices(migrationToJson(whole)));
  expect(short.complete).toBe(whole.complete);
  expect(short.ram?.blocks.map(({ name, usedLength }) => [name, usedLength])).toEqual(
    whole.ram?.blocks.map(({ name, usedLength }) => [name, usedLength]),
  );
});

test.each(listMigrationCaptures())("$name: each page has its place", ({ bytes: all, offset }) => {
  const counts: Record<string, number> = {};
  const pages: Parameters<OnRamPlace>[] = [];
  const migration = readMigrationBytes(all, {
    offset,
    onPlace: (...place) => {
      counts[place[2]] = (counts[place[2]] ?? 0) + 1;
      if (place[2] === "page") pages.push(place);
    },
  });
  const { ram } = migration;
  expect([counts["page"] ?? 0, counts["zero"] ?? 0, counts["xbzrle"] ?? 0]).toEqual([
    ram?.pages ?? 0,
    (ram?.zeroPages ?? 0) - (ram?.filledPages ?? 0),
    ram?.xbzrlePages ?? 0,
  ]);
  // The content is what onPage gives.
  let at = 0;
  readMigrationBytes(all, {
    offset,
    onPage: ({ block, offset: inBlock, kind, data }) => {
      if (kind !== "page" || data === undefined) return;
      const [name, place, , start, size] = pages[at++] ?? ["", 0, "page", 0, 0];
      if (name !== block || place !== inBlock || !Buffer.from(data).equals(all.subarray(start, start + size))) {
        expect([name, place, start]).toEqual([block, inBlock, "its content"]);
      }
    },
  });
  expect(at).toBe(pages.length);
});

const pageSize = 4096;
const description = {
  configuration: { vmsd_name: "configuration", version: 1, fields: [] },
  page_size: pageSize,
  devices: [device("one", [{ name: "a", type: "uint8", size: 1 }])],
};

/** RAM in `rounds` sections, each with a page; the device behind it. */
function stream(rounds: number, name = "one"): Uint8Array {
  const round = (index: number) =>
    further(2, 2, bytes(BigInt(index * pageSize) | 8n, counted("ram"), new Uint8Array(pageSize), eos));
  return bytes(
    header,
    configuration("m"),
    entry(1, 2, "ram", bytes(blockList([["ram", rounds * pageSize]]), eos), { version: 4 }),
    Array.from({ length: rounds }, (_, index) => round(index)),
    further(3, 2, bytes(eos)),
    entry(4, 3, name, [7]),
    end(description),
  );
}

test("what is before the devices is not read", async () => {
  const all = stream(1000);
  const from = source(all);
  const short = await readMigration(from, { skipRam: true });
  expect(short.sections.map(({ type, name }) => `${type} ${name}`)).toEqual(["start ram", "full one"]);
  // The start, and some MiB at the end.
  expect(from.reads.reduce((sum, [, length]) => sum + length, 0)).toBeLessThan(all.length);
  expect(short.complete).toBe(true);
});

test("where the devices are not found, or what looks like them is something else, all is read", async () => {
  const other = stream(3, "two");
  const whole = readMigrationBytes(other);
  expect(migrationToJson(await readMigration(source(other), { skipRam: true }))).toEqual(migrationToJson(whole));
  // The first device's header once more, in another device's state.
  const copied = bytes(4, be32(9), counted("one"), be32(0), be32(1), 7);
  const twice = bytes(
    header,
    configuration("m"),
    entry(1, 2, "ram", bytes(blockList([["ram", pageSize]]), eos), { version: 4 }),
    further(3, 2, bytes(eos)),
    entry(4, 3, "one", [7]),
    entry(4, 4, "two", copied),
    end({
      ...description,
      devices: [...description.devices, device("two", [{ name: "b", type: "buffer", size: copied.length }])],
    }),
  );
  const short = await readMigration(source(twice), { skipRam: true });
  expect(migrationToJson(short)).toEqual(migrationToJson(readMigrationBytes(twice)));
});
