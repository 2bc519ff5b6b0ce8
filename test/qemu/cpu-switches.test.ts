// What a CPU's sets of features say of its switches is what an older QEMU says when it is asked for each.

import { expect, it } from "vitest";
import { readOpenMachine } from "../../src/qemu/machine/read.ts";
import { switchesOf } from "../../src/qemu/machine/tree/cpu-switches.ts";
import { openVm } from "../../src/qemu/vm/open.ts";
import { describeQemu } from "../support/qemu.ts";
import { withVm } from "./preflight-support.ts";

const path = "/machine/unattached/device[0]";
/** Few, most, and by turns: each switch is on in one and off in another, as far as an emulated CPU has it. */
const models = [
  "486",
  "max",
  "qemu64,+avx2,+sse4.1,-lm,-nx",
  "EPYC-Milan,x-force-features=on",
  "SapphireRapids,x-force-features=on",
];

for (const version of ["7.2", "10.0", "11.1"] as const) {
  describeQemu(`switches of a CPU, QEMU ${version}`, [version], ({ [version]: qemu }) => {
    it.each(models.filter((model) => version !== "7.2" || !model.startsWith("Sapphire")))("%s", async (model) => {
      const machine = version === "7.2" ? { machine: "pc-q35-7.2,memory-backend=ram0" } : {};
      await withVm({ qemu, args: ["-S", "-cpu", model], ...machine }, async ({ qmpPath }) => {
        const vm = await openVm({ qmp: qmpPath });
        try {
          const { machine: read } = await readOpenMachine(vm, {}, {});
          const properties = read.qom.find((object) => object.path === path)?.properties ?? {};
          const listed = (await vm.qmp.execute("qom-list", { path })).filter(({ type }) => type === "bool");
          const said: Record<string, unknown> = {};
          for (const { name } of listed) said[name] = await vm.qmp.execute("qom-get", { path, property: name });
          const told = switchesOf(await vm.qmp.execute("qom-get", { path, property: "feature-words" }));
          expect(Object.keys(told).filter((name) => name in said).length).toBeGreaterThan(200);
          expect(Object.fromEntries(Object.keys(said).map((name) => [name, told[name] ?? said[name]]))).toEqual(said);
          for (const [name, value] of Object.entries(said)) expect([name, properties[name]]).toEqual([name, value]);
        } finally {
          await vm.qmp.close();
        }
      });
    });
  });
}

it("another form tells nothing", () => {
  for (const odd of [undefined, null, 1, "x", {}, [1], [{ "cpuid-register": "EAX", features: 1 }]]) {
    expect(switchesOf(odd)).toEqual({});
  }
});
