// Cut and changed streams: always an answer, never a hang, nothing but CprkitError.
import { describe, expect, it } from "vitest";
import { type Migration, migrationToJson, readMigration, readMigrationBytes } from "../../src/migration/index.ts";
import { isCprkitError } from "../../src/vmstate/index.ts";
import { seeded } from "../support/random.ts";
import { chunksOf, listMigrationCaptures } from "./captures.ts";

const captures = listMigrationCaptures();
const cuts = 24;
const mutations = 24;

function tryRead(bytes: Uint8Array, offset: number, vmdesc?: string): Migration | undefined {
  try {
    return readMigrationBytes(bytes, { offset, vmdesc });
  } catch (error) {
    expect(isCprkitError(error), String(error)).toBe(true);
    return undefined;
  }
}

describe("streams that end early", () => {
  it.each(captures)("$name shows what came before the cut, and where it is", async ({ bytes, offset }) => {
    const whole = readMigrationBytes(bytes, { offset });
    const random = seeded(bytes.length);
    for (let i = 0; i < cuts; i++) {
      const length = offset + 8 + random.below(bytes.length - offset - 8);
      const cut = bytes.subarray(0, length);
      const migration = tryRead(cut, offset, whole.vmdescription?.text);
      const before = whole.sections.filter((section) => section.offset + section.size <= length);
      const found = migration?.sections.slice(0, before.length) ?? [];
      expect(JSON.stringify(migrationToJson({ ...whole, sections: found })), `cut at ${length}`).toBe(
        JSON.stringify(migrationToJson({ ...whole, sections: before })),
      );
      if (migration?.complete === false) {
        expect(migration.stopped, `cut at ${length}`).toMatchObject({ code: "ERR_EOF" });
        expect(migration.stopped?.offset).toBeLessThanOrEqual(length);
        // In a device, the field is named.
        const last = migration.sections.at(-1);
        if (last?.type === "full" && last.device !== undefined && last.device.state === undefined) {
          expect(migration.stopped?.path.startsWith(last.name)).toBe(true);
        }
      }
      // Without the description, the same sections are seen.
      const bare = tryRead(cut, offset);
      const edges = (m: Migration | undefined) =>
        m?.sections.slice(0, before.length).map((s) => [s.name, s.offset, s.size]);
      if (whole.sections.every((section) => section.footer))
        expect(edges(bare), `cut at ${length}`).toEqual(edges(migration));
      if (i % 12 === 0) {
        const piped = await readMigration(chunksOf(cut, 5000), { offset });
        expect(piped.stopped?.message).toBe(bare?.stopped?.message);
      }
    }
  });
});

describe("streams with changed bytes", () => {
  it.each(captures)("$name gives a result or a clear error", async ({ bytes, offset }) => {
    const random = seeded(bytes.length ^ 0x5eed);
    const json = readMigrationBytes(bytes, { offset }).vmdescription?.offset ?? bytes.length;
    for (let i = 0; i < mutations; i++) {
      const changed = bytes.slice();
      const count = 1 + random.below(4);
      for (let n = 0; n < count; n++) {
        // Half of them where lengths, names and flags are: in the first bytes and in the description.
        const at = random.pick([
          offset + random.below(bytes.length - offset),
          offset + random.below(Math.min(4096, bytes.length - offset)),
          Math.min(bytes.length - 1, json + random.below(bytes.length - json)),
        ]);
        changed[at] = random.pick([
          0,
          0xff,
          0x7f,
          0x80,
          random.below(256),
          (changed[at] ?? 0) ^ (1 << random.below(8)),
        ]);
      }
      const migration = tryRead(changed, offset);
      if (migration === undefined) continue;
      for (const problem of [migration.stopped, ...migration.problems]) {
        if (problem !== undefined) expect(problem.message).toMatch(/byte \d+|JSON/);
      }
      JSON.stringify(migrationToJson(migration));
      if (i % 12 === 0) await readMigration(chunksOf(changed, 4999), { offset });
    }
  });
});
