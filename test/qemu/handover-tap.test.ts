// Tap interfaces are handed over: a guest keeps its network through updates, in both directions and modes.
import { afterEach, expect, it } from "vitest";
import { readScheduling } from "../../src/linux/process/scheduling.ts";
import { updateVm } from "../../src/qemu/update/update.ts";
import { expectAsManyFds } from "../support/fds.ts";
import { describeQemu } from "../support/qemu.ts";
import { assertContiguous } from "../support/serial-log.ts";
import { bridgeOrSkip, endOnTaps, longestRun, startOnTap, tell } from "./bridge.ts";

afterEach(endOnTaps);

const rate = 1_000;

describeQemu(
  "a guest on a tap in a bridge",
  ["10.0", "11.1"],
  (qemu) => {
    it("keeps its network through updates there and back", async (context) => {
      const bridge = bridgeOrSkip(context);
      const vm = await startOnTap(qemu["10.0"], bridge, {});
      const before = bridge.tapState();
      const stop = await bridge.startPeer(rate);
      const downtimes: number[] = [];
      const building: number[] = [];
      await expectAsManyFds(async () => {
        for (const version of ["11.1", "10.0"] as const) {
          const policies = new Map<string, number>();
          const onStep = (step: string) => void policies.set(step, readScheduling(process.pid, process.pid).policy);
          const report = await updateVm({ qmp: vm.qmp }, { qemu: qemu[version], stateDir: vm.stateDir, onStep });
          // While the new QEMU makes its devices this process goes before others (as root, who alone can make a bridge).
          expect([policies.get("listening"), policies.get("migrating"), policies.get("destination-ready")]).toEqual([
            0, 1, 0,
          ]);
          downtimes.push(report.downtimeMs ?? 0);
          building.push(report.phases.find(({ step }) => step === "destination-ready")?.ms ?? 0);
          expect(report.warnings.join("\n")).not.toMatch(/tap interface|net\.clients/);
          expect(bridge.tapState()).toBe(before);
        }
      });
      const said = await stop();
      tell("cpr-transfer", downtimes, said);
      expect(said.tcp.lines).toBeGreaterThan(rate / 10);
      expect(said.tcp.wrong).toBe(0);
      // A new QEMU that is let alone spoils every packet while it builds its machine.
      expect((longestRun(said.lost) / rate) * 1000).toBeLessThan(Math.min(...building) / 2);
      assertContiguous(vm.serial);
    });

    it("has all as it was after a rollback, also what the kernel leaves to the guest of large packets", async (context) => {
      const bridge = bridgeOrSkip(context);
      const vm = await startOnTap(qemu["10.0"], bridge, {});
      const before = bridge.tapState();
      // Checksums and TCP segments are left to a Linux guest.
      expect(Number(before.split(" ").at(-1)) & 7).toBe(7);
      let ready = "";
      const onStep = (step: string) => {
        if (step === "destination-ready") ready = bridge.tapState();
        return step === "before-switch" ? Promise.reject(new Error("not this time")) : undefined;
      };
      const update = updateVm({ qmp: vm.qmp }, { qemu: qemu["11.1"], stateDir: vm.stateDir, onStep });
      await expect(update).rejects.toThrow(/rolled back.*not this time/);
      expect(ready).toBe(before);
      expect(bridge.tapState()).toBe(before);
      const stop = await bridge.startPeer(rate);
      const said = await stop();
      expect(said.tcp.wrong).toBe(0);
      expect(said.arrived).toBeGreaterThan(0);
    });

    it("keeps it through cpr-exec, where the process keeps the fd", async (context) => {
      const bridge = bridgeOrSkip(context);
      const vm = await startOnTap(qemu["11.1"], bridge, {});
      const before = bridge.tapState();
      const stop = await bridge.startPeer(rate);
      const downtimes: number[] = [];
      for (let time = 0; time < 2; time++) {
        const options = { mode: "cpr-exec", stateDir: vm.stateDir } as const;
        downtimes.push((await updateVm({ qmp: vm.qmp }, options)).downtimeMs ?? 0);
        expect(bridge.tapState()).toBe(before);
      }
      const said = await stop();
      tell("cpr-exec", downtimes, said);
      expect(said.tcp.lines).toBeGreaterThan(rate / 10);
      expect(said.tcp.wrong).toBe(0);
    });
  },
  { linux: true },
);
