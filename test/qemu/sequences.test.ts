// Whatever was done to a running VM over QMP, an update carries it: random sequences, compared by a model of what they set.
// 10 sequences; with CPRKIT_LONG=1 300. CPRKIT_SEED=N runs the sequence of that seed alone.
import { createHash } from "node:crypto";
import { readFileSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, expect, it } from "vitest";
import { connectQmp, type Qmp } from "../../src/qemu/qmp/client.ts";
import { updateVm } from "../../src/qemu/update/update.ts";
import { describeQemu } from "../support/qemu.ts";
import { seeded } from "../support/random.ts";
import { assertContiguous } from "../support/serial-log.ts";
import { expected, look, newModel, play, removeBitmaps, sequenceArguments } from "./sequences.ts";
import { endAll, startUpdatable, type Updatable } from "./update-support.ts";

afterEach(endAll);

const count = process.env["CPRKIT_LONG"] === "1" ? 300 : 10;
const only = process.env["CPRKIT_SEED"];
const seeds = only === undefined ? Array.from({ length: count }, (_, index) => index + 1) : [Number(only)];

async function ask<T>(vm: Updatable, work: (qmp: Qmp) => Promise<T>): Promise<T> {
  const qmp = await connectQmp(vm.qmp);
  try {
    return await work(qmp);
  } finally {
    await qmp.close();
  }
}

async function fingerprint(qmp: Qmp, dir: string): Promise<string> {
  const file = join(dir, "saved");
  await qmp.execute("pmemsave", { val: 16 << 20, size: 8 << 20, filename: file });
  const bytes = readFileSync(file);
  rmSync(file);
  return createHash("sha256").update(bytes).digest("hex");
}

describeQemu("what was done to a running VM", ["10.0", "11.1"], (qemu) => {
  const ways = [
    ["10.0", ["11.1", "10.0"], "cpr-transfer"],
    ["11.1", ["11.1"], "cpr-exec"],
    ["11.1", ["10.0", "11.1"], "cpr-transfer"],
  ] as const;
  for (const seed of seeds) {
    const [from, later, mode] = ways[seed % ways.length] ?? ways[0];
    it(`seed ${seed}: ${[from, ...later].join(" -> ")}, ${mode}`, async () => {
      const vm = await startUpdatable({
        ...{ qemu: qemu[from], machine: "pc-q35-10.0", accel: "tcg", devices: true },
        extraArgs: (dir) => {
          writeFileSync(join(dir, "second.img"), "");
          truncateSync(join(dir, "second.img"), 4 << 20);
          return sequenceArguments(dir);
        },
      });
      const random = seeded(seed);
      const model = newModel(vm.dir);
      for (const version of later) {
        const before = await ask(vm, async (qmp) => {
          await play(qmp, model, random, 5 + random.below(26), vm.dir);
          // The model is right before anything is updated.
          expect(await look(qmp, model), model.log.join(", ")).toEqual(expected(model));
          return fingerprint(qmp, vm.dir);
        });
        const update = () => updateVm({ qmp: vm.qmp }, { qemu: qemu[version], mode, stateDir: vm.stateDir });
        const report = await update().catch(async (error: Error) => {
          // The one thing that may be refused, by its name, and then nothing has changed: a bitmap below a snapshot.
          expect(error.message, model.log.join(", ")).toMatch(/nothing was changed\. (\[dirty-bitmap\][^[]*)+$/);
          await ask(vm, async (qmp) => {
            expect(await look(qmp, model)).toEqual(expected(model));
            await removeBitmaps(qmp, model);
          });
          return update();
        });
        expect(report.comparison.after?.differences, model.log.join(", ")).toEqual([]);
        await ask(vm, async (qmp) => {
          expect(await look(qmp, model), model.log.join(", ")).toEqual(expected(model));
          expect(await fingerprint(qmp, vm.dir)).toBe(before);
        });
      }
      await vm.serial.waitForMore(10, 20_000);
      assertContiguous(vm.serial);
    });
  }
});
