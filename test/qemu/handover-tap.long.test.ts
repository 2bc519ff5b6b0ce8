// Taps with several queues, and with scripts; npm run test:long.
import { chmodSync, existsSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, expect, it } from "vitest";
import { updateVm } from "../../src/qemu/update/update.ts";
import { describeQemu } from "../support/qemu.ts";
import { privateDir } from "../support/vm.ts";
import { bridgeOrSkip, endOnTaps, startOnTap, tell } from "./bridge.ts";

afterEach(endOnTaps);

const rate = 1_000;

describeQemu(
  "a guest on a tap",
  ["10.0", "11.1"],
  (qemu) => {
    for (const cpus of [1, 2]) {
      it(`keeps two queues, of which it uses ${cpus}, and has them again after a rollback`, async (context) => {
        const bridge = bridgeOrSkip(context, { queues: 2 });
        const vm = await startOnTap(qemu["10.0"], bridge, {
          tap: ",queues=2",
          card: ",mq=on,vectors=6",
          more: () => ["-smp", String(cpus)],
        });
        const queues = () =>
          readdirSync(`/sys/class/net/${bridge.tap}/queues`).filter((name) => name.startsWith("rx-"));
        const before = queues();
        expect(before).toHaveLength(cpus);
        const stop = await bridge.startPeer(rate);
        const failing = () => Promise.reject(new Error("not this time"));
        const onStep = (step: string) => (step === "before-switch" ? failing() : undefined);
        // The CPUs of a guest are compared elsewhere.
        const how = { stateDir: vm.stateDir, allow: ["machine-differs"] };
        const failed = updateVm({ qmp: vm.qmp }, { ...how, qemu: qemu["11.1"], onStep });
        await expect(failed).rejects.toThrow(/rolled back.*not this time/);
        expect(vm.qemus()).toEqual([vm.pid]);
        expect(queues()).toEqual(before);
        for (const version of ["11.1", "10.0"] as const) {
          await updateVm({ qmp: vm.qmp }, { ...how, qemu: qemu[version] });
          expect(queues()).toEqual(before);
        }
        const said = await stop();
        expect(said.tcp.lines).toBeGreaterThan(rate / 10);
        expect(said.tcp.wrong).toBe(0);
      });
    }

    it("keeps a macvtap that a parent has passed, there and back and by cpr-exec", async (context) => {
      const bridge = bridgeOrSkip(context, { isMacvtap: true });
      const vm = await startOnTap(qemu["10.0"], bridge, {});
      const before = bridge.tapState();
      const stop = await bridge.startPeer(rate);
      const downtimes: number[] = [];
      for (const [version, mode] of [
        ["11.1", "cpr-transfer"],
        ["11.1", "cpr-exec"],
        ["10.0", "cpr-transfer"],
      ] as const) {
        const options = { qemu: qemu[version], mode, stateDir: vm.stateDir };
        downtimes.push((await updateVm({ qmp: vm.qmp }, options)).downtimeMs ?? 0);
        expect(bridge.tapState()).toBe(before);
      }
      const said = await stop();
      tell("macvtap", downtimes, said);
      expect(said.tcp.lines).toBeGreaterThan(rate / 10);
      expect(said.tcp.wrong).toBe(0);
    });

    it("has its scripts run once, and none at the end of the old QEMU", async (context) => {
      const bridge = bridgeOrSkip(context);
      const script = join(privateDir(), "script");
      const log = `${script}.log`;
      writeFileSync(script, `#!/bin/sh\necho "$(basename "$0") $1" >> ${log}\n`);
      chmodSync(script, 0o755);
      const vm = await startOnTap(qemu["10.0"], bridge, { scripts: `script=${script},downscript=${script}` });
      const report = await updateVm({ qmp: vm.qmp }, { qemu: qemu["11.1"], stateDir: vm.stateDir });
      expect(report.warnings.join("\n")).toMatch(/script will not be run when the new QEMU ends/);
      expect(existsSync(log) ? readFileSync(log, "utf8") : "").toBe(`script ${bridge.tap}\n`);
    });
  },
  { linux: true },
);
