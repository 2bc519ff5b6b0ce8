// Tap interfaces are handed over: a guest keeps its network through updates, in both directions and modes.
import { afterEach, expect, it } from "vitest";
import { updateVm } from "../../src/qemu/update/update.ts";
import { expectAsManyFds } from "../support/fds.ts";
import { describeQemu } from "../support/qemu.ts";
import { assertContiguous } from "../support/serial-log.ts";
import { bridgeOrSkip, endOnTaps, type PeerReport, startOnTap } from "./bridge.ts";

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
          const report = await updateVm({ qmp: vm.qmp }, { qemu: qemu[version], stateDir: vm.stateDir });
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

function longestRun(lost: readonly number[]): number {
  let [longest, run] = [0, 0];
  for (const [at, number] of lost.entries()) {
    run = at > 0 && lost[at - 1] === number - 1 ? run + 1 : 1;
    longest = Math.max(longest, run);
  }
  return longest;
}

function tell(what: string, downtimes: readonly number[], { sent, lost, doubled, gapMs, tcp }: PeerReport): void {
  const times = downtimes.map((ms) => ms.toFixed(1)).join(" ");
  console.log(
    `${what}: downtimes ${times} ms; ${sent} packets sent, ${lost.length} lost, at most ${longestRun(lost)} in a row, ` +
      `${doubled} doubled, gap ${gapMs} ms; TCP ${tcp.lines} lines, gap ${tcp.gapMs} ms`,
  );
}
