// Whatever was done to a running VM over QMP, an update carries it: random sequences, compared by a model of what they set.
// 4 sequences; with CPRKIT_LONG=1 300. CPRKIT_SEED=N runs the sequence of that seed alone.
import { truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, expect, it } from "vitest";
import { updateVm } from "../../src/qemu/update/update.ts";
import { describeQemu } from "../support/qemu.ts";
import { seeded } from "../support/random.ts";
import { assertContiguous } from "../support/serial-log.ts";
import { expected, look, newModel, play, removeBitmaps, sequenceArguments } from "./sequences.ts";
import { ask, endAll, fingerprint, startUpdatable } from "./update-support.ts";

afterEach(endAll);

const count = process.env["CPRKIT_LONG"] === "1" ? 300 : 4;
const only = process.env["CPRKIT_SEED"];
const seeds = only === undefined ? Array.from({ length: count }, (_, index) => index + 1) : [Number(only)];

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
        await ask(vm, async (qmp) => {
          await play(qmp, model, random, 5 + random.below(26), vm.dir);
          // The model is right before anything is updated.
          expect(await look(qmp, model), model.log.join(", ")).toEqual(expected(model));
        });
        const before = await fingerprint(vm);
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
        });
        expect(await fingerprint(vm)).toBe(before);
      }
      await vm.serial.waitForMore(10, 20_000);
      assertContiguous(vm.serial);
    });
  }
});
