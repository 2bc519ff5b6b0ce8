// Every pair of failed-loads.ts, really loaded by QEMU 10.0 and 11.1: each reason is found, with the stream and without.

import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { explainLog, readMigrationBytes } from "../../src/migration/index.ts";
import { describeQemu } from "../support/qemu.ts";
import { privateDir } from "../support/vm.ts";
import { failedLoads, failToLoad } from "./failed-loads.ts";

describeQemu("loads that QEMU refuses", ["10.0", "11.1"], (qemu) => {
  for (const pair of failedLoads) {
    for (const version of ["10.0", "11.1"] as const) {
      test(`${pair.name}, loaded by ${version}`, async () => {
        const { log, path } = await failToLoad(pair, [qemu["10.0"], qemu[version]], privateDir());
        expect(explainLog(log).map(({ code }) => code)).toEqual([pair.code]);
        const stream = pair.code === "not-a-stream" ? undefined : readMigrationBytes(readFileSync(path));
        const [reason] = explainLog(log, stream);
        expect(reason).toMatchObject({
          code: pair.code,
          ...(pair.section === undefined ? {} : { section: pair.section }),
        });
        const text = `${reason?.what} ${reason?.why} ${reason?.remedy}`;
        for (const words of pair.says) expect(text).toContain(words);
      }, 60_000);
    }
  }
});
