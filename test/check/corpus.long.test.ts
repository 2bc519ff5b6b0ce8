// Really saves and loads every pair, and compares with what is recorded. CPRKIT_WRITE_CORPUS=1 records it anew: do so after a
// change of test/check/pairs.ts.
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, it } from "vitest";
import { encodeDevice, readMigrationBytes, walkFields } from "../../src/migration/index.ts";
import { describeQemu } from "../support/qemu.ts";
import { measureAll } from "./corpus.ts";
import { readCorpus, writeCorpus } from "./fixture.ts";
import { pairs } from "./pairs.ts";

it("every device of every recorded stream comes out byte for byte, and none of virtio stays shut", {
  timeout: 600_000,
}, () => {
  let sections = 0;
  let virtio = 0;
  for (const bytes of readCorpus().streams.values()) {
    for (const { name, fields, device } of readMigrationBytes(bytes).sections) {
      if (device === undefined) continue;
      expect(Buffer.compare(encodeDevice(device), device.body), name).toBe(0);
      sections += 1;
      for (const { field } of walkFields(fields)) {
        if (field.type !== "virtio") continue;
        expect(field.fields, name).toBeDefined();
        virtio += 1;
      }
    }
  }
  console.info(`${sections} devices, ${virtio} of them virtio`);
  expect(virtio).toBeGreaterThan(200);
});

describeQemu("pairs of machines, saved and loaded by real QEMU", ["7.2", "10.0", "11.1"], (qemu) => {
  it("loads and refuses as is recorded", { timeout: 3_600_000 }, async () => {
    const folder = mkdtempSync(join(tmpdir(), "cprkit-corpus-"));
    try {
      const qemuOf = (version: string) => qemu[version as keyof typeof qemu];
      const measured = await measureAll(pairs, qemuOf, folder);
      expect(measured.filter(({ problem }) => problem !== undefined)).toEqual([]);
      if (process.env["CPRKIT_WRITE_CORPUS"] === "1")
        writeCorpus(measured, (name) => new Uint8Array(readFileSync(join(folder, `${name}.mig`))));
      const brief = (all: readonly { readonly name: string; readonly kind: string; readonly loads: boolean }[]) =>
        all.map(({ kind, name, loads }) => `${kind}: ${name}: ${loads ? "loads" : "refused"}`);
      expect(brief(measured)).toEqual(brief(readCorpus().verdicts));
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  });
});
