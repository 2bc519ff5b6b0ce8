// What real QEMU says when it refuses a load, explained. Four pairs here; all of them, and both QEMUs, in the long test.

import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { explainLog, readMigrationBytes } from "../../src/migration/index.ts";
import { lastLines } from "../../src/qemu/update/peers/log.ts";
import { describeQemu } from "../support/qemu.ts";
import { privateDir } from "../support/vm.ts";
import { failedLoads, failToLoad } from "./failed-loads.ts";

test("the error of an update has what the new QEMU said, and what it means", () => {
  const log = join(privateDir(), "new.log");
  writeFileSync(
    log,
    "qemu: Size mismatch: pc.ram: 0x2000000 != 0x4000000: Invalid argument\nqemu: load of migration failed: Invalid argument\n",
  );
  expect(lastLines(log)).toMatch(
    /^qemu: Size mismatch.* \| qemu: load of migration failed.*\. This means: ram: RAM block "pc\.ram" has 32 MiB/,
  );
  writeFileSync(log, "qemu: something else\n");
  expect(lastLines(log)).toBe("qemu: something else");
});

describeQemu("loads that QEMU refuses", ["10.0", "11.1"], (qemu) => {
  const few = ["more vectors", "a feature that the guest uses is off", "no such device", "more RAM"];
  for (const pair of failedLoads.filter(({ name }) => few.includes(name))) {
    test(pair.name, async () => {
      const { log, path } = await failToLoad(pair, [qemu["10.0"], qemu["11.1"]], privateDir());
      const [reason, ...more] = explainLog(log, readMigrationBytes(readFileSync(path)));
      expect(more).toEqual([]);
      expect(reason).toMatchObject({
        code: pair.code,
        ...(pair.section === undefined ? {} : { section: pair.section }),
      });
      const text = `${reason?.what} ${reason?.why} ${reason?.remedy}`;
      for (const words of pair.says) expect(text).toContain(words);
    }, 60_000);
  }
});
