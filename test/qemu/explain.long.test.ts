// Every pair of failed-loads.ts, really loaded by QEMU 10.0 and 11.1: each reason is found, with the stream and without.

import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { explainLog, readMigrationBytes } from "../../src/migration/index.ts";
import { describeQemu } from "../support/qemu.ts";
import { privateDir } from "../support/vm.ts";
import { failedLoads, failToLoad, failToUpdate } from "./failed-loads.ts";

describeQemu("live updates that QEMU refuses", ["10.0", "11.1"], (qemu) => {
  const shared = (size: number) =>
    `-M pc-q35-10.0,memory-backend=r,aux-ram-share=on -m ${size} -object memory-backend-memfd,id=r,size=${size}M,share=on`;
  const cases = [
    {
      name: "private memory",
      from: "10.0",
      to: "11.1",
      source: "-M pc-q35-10.0 -m 32",
      memory: 32,
      code: "cpr-memory",
    },
    { name: "a state of 11.1 for 10.0", from: "11.1", to: "10.0", source: shared(32), memory: 32, code: "cpr-state" },
    { name: "more memory", from: "10.0", to: "11.1", source: shared(32), memory: 64, code: "ram-size" },
  ] as const;
  for (const { name, from, to, source, memory, code } of cases) {
    test(name, async () => {
      const said = await failToUpdate([qemu[from], qemu[to]], [source, shared(memory)], privateDir());
      expect(said.flatMap((text) => explainLog(text).map((reason) => reason.code))).toContain(code);
    }, 60_000);
  }
});

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
