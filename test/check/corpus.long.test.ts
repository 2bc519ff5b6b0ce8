// Really saves and loads every pair, and compares with what is recorded. CPRKIT_WRITE_CORPUS=1 records it anew: do so after a
// change of test/check/pairs.ts.
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, it } from "vitest";
import { describeQemu } from "../support/qemu.ts";
import { measureAll } from "./corpus.ts";
import { readCorpus, writeCorpus } from "./fixture.ts";
import { pairs } from "./pairs.ts";

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
