import { describe, expect, it } from "vitest";
import {
  bytesSource,
  encodeDevice,
  encodeMigration,
  type Migration,
  migrationToJson,
  readMigration,
  readMigrationBytes,
} from "../../src/migration/index.ts";
import { asScriptPrints } from "./analyze-migration.ts";
import { chunksOf, hasAllCaptures, listMigrationCaptures, type MigrationCapture } from "./captures.ts";

const captures = listMigrationCaptures();
const withState = captures.filter(({ state }) => state !== undefined);
const read = ({ bytes, offset }: MigrationCapture): Migration => readMigrationBytes(bytes, { offset });

describe("recorded migration streams", () => {
  it.each(captures)("$name is read to its end without a problem", (capture) => {
    const migration = read(capture);
    expect(migration.stopped).toBeUndefined();
    expect(migration.problems).toEqual([]);
    expect(migration.complete).toBe(true);
    expect(migration.offset + migration.size).toBe(capture.bytes.length);
    for (const section of migration.sections) {
      expect(section.opaque).toBeUndefined();
      if (section.type === "full") expect(section.device?.state).toBeDefined();
    }
  });

  it("gives every value that analyze-migration.py prints", () => {
    let values = 0;
    const deviating: string[] = [];
    for (const capture of withState) {
      const ours = asScriptPrints(read(capture));
      expect(Object.keys(ours)).toEqual(Object.keys(capture.state ?? {}));
      for (const [section, fields] of Object.entries(capture.state ?? {})) {
        values += countLeaves(fields);
        const fair = withoutPointerMarkers(fields);
        if (JSON.stringify(fair) !== JSON.stringify(fields)) deviating.push(`${capture.name}: ${section}`);
        expect(ours[section], `${capture.name}: ${section}`).toEqual(fair);
      }
    }
    console.info(`${values} values of ${withState.length} streams are the same as analyze-migration.py prints them`);
    expect(values).toBeGreaterThan(hasAllCaptures ? 300_000 : 30_000);
    // The script does not know 11.1's markers of pointers, and shows them as elements.
    expect(deviating).toEqual([
      "cpr-main-pc-linux-nvme-11.1: 0000:00:03.0/nvme (43)",
      ...(hasAllCaptures ? ["q35-virtio-11.1: 0000:00:03.0/nvme (43)"] : []),
    ]);
  });

  it("encodes every device section to the bytes that it was decoded from", () => {
    let sections = 0;
    let same = 0;
    for (const capture of captures) {
      for (const section of read(capture).sections) {
        if (section.device === undefined) continue;
        sections += 1;
        if (Buffer.compare(encodeDevice(section.device), section.device.body) === 0) same += 1;
      }
    }
    console.info(`${same} of ${sections} device sections come out byte for byte the same`);
    expect(same).toBe(sections);
    expect(sections).toBeGreaterThan(100);
  });

  it.each(captures)("$name comes out the same when all of it is written again", async (capture) => {
    const chunks: Uint8Array[] = [];
    for await (const chunk of encodeMigration(read(capture), capture.bytes)) chunks.push(chunk.slice());
    expect(Buffer.compare(Buffer.concat(chunks), capture.bytes.subarray(capture.offset))).toBe(0);
  });

  it.each(captures)("$name reads the same as a file and as a pipe, whatever the chunks", async (capture) => {
    const { bytes, offset } = capture;
    const expected = JSON.stringify(migrationToJson(read(capture)));
    const asFile = await readMigration(bytesSource(bytes), { offset });
    expect(JSON.stringify(migrationToJson(asFile))).toBe(expected);
    for (const size of [65536, 4099, 61]) {
      const asPipe = await readMigration(chunksOf(bytes, size), { offset });
      expect(JSON.stringify(migrationToJson(asPipe)), `chunks of ${size}`).toBe(expected);
    }
  });
});

describe.skipIf(!hasAllCaptures)("streams that analyze-migration.py cannot read [needs the shared captures]", () => {
  const capture = (name: string): MigrationCapture => {
    const found = captures.find((one) => one.name === name);
    if (found === undefined) throw new Error(`${name} is missing`);
    return found;
  };

  it("mapped-ram: each block's pages at their place in the file", () => {
    const { ram, configuration } = read(capture("microvm-mapped-ram-10.0"));
    expect(configuration?.capabilities).toEqual(["mapped-ram"]);
    expect(ram).toMatchObject({ mappedRam: true, pages: 11, zeroPages: 261 });
    expect(ram?.blocks.map(({ name, mapped }) => [name, mapped?.version, mapped?.pageSize])).toEqual([
      ["microvm.ram", 1, 4096],
      ["pc.bios", 1, 4096],
    ]);
  });

  it("a stream at an offset of its file", () => {
    const { bytes } = capture("microvm-offset-10.0");
    expect(readMigrationBytes(bytes, { offset: 0x1000 }).machine).toBe("microvm");
    expect(() => readMigrationBytes(bytes)).toThrow(/expected "QEVM"/);
  });

  it("a RAM block name of 178 bytes", () => {
    const { ram } = read(capture("q35-long-ram-name-10.0"));
    expect(ram?.blocks.map(({ name }) => name.length).sort((a, b) => b - a)[0]).toBe(178);
  });

  it("x-ignore-shared: an address for each block", () => {
    const { ram, configuration } = read(capture("q35-cpr-reboot-ignore-shared-10.0"));
    expect(configuration?.capabilities).toEqual(["x-ignore-shared"]);
    expect(ram?.ignoreShared).toBe(true);
    expect(ram?.blocks.map(({ name, address }) => [name, address])).toContainEqual(["pc.bios", 0xfffc_0000n]);
  });
});

/** The script's list of pointers without the markers that it shows as elements: "31" before each, "30" for null. */
function withoutPointerMarkers(value: unknown): unknown {
  if (Array.isArray(value)) {
    return value.filter((one) => one !== "31").map((one) => (one === "30" ? null : withoutPointerMarkers(one)));
  }
  if (typeof value !== "object" || value === null) return value;
  return Object.fromEntries(Object.entries(value).map(([key, one]) => [key, withoutPointerMarkers(one)]));
}

function countLeaves(value: unknown): number {
  if (typeof value !== "object" || value === null) return 1;
  return Object.values(value).reduce((sum: number, one) => sum + countLeaves(one), 0);
}
