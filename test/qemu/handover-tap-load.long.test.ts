// A guest on a tap through ten updates, under a load of 5,000 packets a second and a TCP stream: what is lost and how long
// the gaps are, beside the same guest let alone, and the same guest in a new QEMU that opens the tap again, as an update
// without the hand-over has to; npm run test:long. The figures are in docs/reliability.md.
import { spawn } from "node:child_process";
import { existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, afterEach, beforeAll, expect, it } from "vitest";
import { connectQmp, type Qmp } from "../../src/qemu/qmp/client.ts";
import { updateVm } from "../../src/qemu/update/update.ts";
import { describeQemu } from "../support/qemu.ts";
import { assertContiguous } from "../support/serial-log.ts";
import { bridgeOrSkip, endOnTaps, longestRun, type PeerReport, startOnTap, tell } from "./bridge.ts";
import { startUpdatable, type Updatable } from "./update-support.ts";

afterEach(endOnTaps);

const rate = 5_000;
const updates = 10;
/** The guest's own work, of which there is little. */
const words = "tick_us=50000";

/** Other work of the machine is not to take the time of the guest, its peer and cprkit: of all that this session starts. */
function goBefore(nice: number): void {
  if (existsSync("/proc/self/autogroup")) writeFileSync("/proc/self/autogroup", String(nice));
}
beforeAll(() => goBefore(-15));
afterAll(() => goBefore(0));

describeQemu(
  "a guest on a tap under load",
  ["10.0", "11.1"],
  (qemu) => {
    for (const vhost of [false, true]) {
      it(`loses less by ${updates} updates ${vhost ? "with" : "without"} vhost than by as many taps opened again`, async (context) => {
        if (vhost && !existsSync("/dev/vhost-net")) context.skip("there is no /dev/vhost-net here");
        const how = { tap: vhost ? ",vhost=on" : "", ram: "file", words } as const;
        const bridge = bridgeOrSkip(context);
        const vm = await startOnTap(qemu["10.0"], bridge, how);
        const commandLine = readFileSync(`/proc/${vm.pid}/cmdline`, "utf8").split("\0").slice(1, -1);
        const before = bridge.tapState();
        const underLoad = async (what: string, work: () => Promise<number[]>): Promise<PeerReport> => {
          const overflowed = bridge.overflowed();
          const stop = await bridge.startPeer(rate);
          await sleep(1_000);
          const downtimes = await work();
          await sleep(1_000);
          const said = await stop();
          tell(what, downtimes, said, bridge.overflowed() - overflowed);
          // The stream goes on to its end, and no byte of it is another.
          expect(said.tcp.wrong).toBe(0);
          expect(said.tcp.lines).toBeGreaterThan((said.sent / rate) * 900);
          return said;
        };

        const alone = await underLoad("let alone", async () => {
          await sleep(10_000);
          return [];
        });
        const updated = await underLoad(`${updates} updates`, async () => {
          const downtimes: number[] = [];
          for (let at = 0; at < updates; at++) {
            const to = at % 2 === 0 ? "11.1" : "10.0";
            const options = { qemu: qemu[to], mode: "cpr-transfer", stateDir: vm.stateDir } as const;
            downtimes.push((await updateVm({ qmp: vm.qmp }, options)).downtimeMs ?? 0);
            expect(bridge.tapState()).toBe(before);
          }
          return downtimes;
        });
        const reopened = await underLoad(`the tap opened again ${updates} times`, async () => {
          const pauses: number[] = [];
          for (let at = 0; at < updates; at++) {
            pauses.push(await reopenByHand(vm, qemu[at % 2 === 0 ? "11.1" : "10.0"], commandLine));
          }
          return pauses;
        });
        assertContiguous(vm.serial);
        expect(updated.lost.length - alone.lost.length).toBeLessThan(reopened.lost.length / 4);
        expect(longestRun(updated.lost)).toBeLessThan(longestRun(reopened.lost) / 2);
      }, 300_000);
    }

    it("pauses no longer than one with another network", async (context) => {
      const bridge = bridgeOrSkip(context);
      const withTap = await startOnTap(qemu["10.0"], bridge, {});
      const without = await startUpdatable({
        qemu: qemu["10.0"],
        machine: "pc-q35-10.0",
        accel: "tcg",
        linux: "net=10.77.0.2",
        extraArgs: () => ["-netdev", "user,id=n0", "-device", "virtio-net-pci,netdev=n0,id=nic0"],
      });
      const downtimes = new Map<string, number[]>([
        ["with a tap", []],
        ["without", []],
      ]);
      for (let at = 0; at < updates; at++) {
        for (const [name, vm] of [
          ["with a tap", withTap],
          ["without", without],
        ] as const) {
          const options = { qemu: qemu[at % 2 === 0 ? "11.1" : "10.0"], stateDir: vm.stateDir };
          downtimes.get(name)?.push((await updateVm({ qmp: vm.qmp }, options)).downtimeMs ?? Number.NaN);
        }
      }
      const median = (name: string) =>
        [...(downtimes.get(name) ?? [])].sort((a, b) => a - b)[updates / 2] ?? Number.NaN;
      for (const [name, all] of downtimes) {
        console.log(
          `${name}: downtimes ${all.map((ms) => ms.toFixed(1)).join(" ")} ms, median ${median(name).toFixed(1)}`,
        );
      }
      expect(median("with a tap")).toBeLessThan(median("without") * 3);
    }, 300_000);
  },
  { linux: true },
);

/**
 * An update by QMP alone: the kernel gives the tap to one process, so the old QEMU must have ended before the new one
 * starts. RAM stays in its file, the state goes through another.
 *
 * @returns the time from the guest's stop to its going on, in ms
 */
async function reopenByHand(vm: Updatable, program: string, words: readonly string[]): Promise<number> {
  const [old = 0] = vm.qemus();
  const uri = `file:${join(vm.dir, "by-hand")}`;
  const source = await prepare(vm.qmp);
  await source.execute("migrate", { uri });
  await expect.poll(() => statusOf(source), { interval: 2, timeout: 20_000 }).toBe("postmigrate");
  const stop = timeOf(source, "STOP");
  await source.execute("quit").catch(() => undefined);
  await source.close();
  await expect.poll(() => vm.qemus(), { interval: 2, timeout: 20_000 }).not.toContain(old);
  spawn(program, [...words, "-incoming", "defer"], { stdio: "ignore" });
  const destination = await prepare(vm.qmp);
  await destination.execute("migrate-incoming", { uri });
  await expect.poll(() => statusOf(destination), { interval: 2, timeout: 20_000 }).toBe("running");
  const resume = timeOf(destination, "RESUME");
  await destination.close();
  return resume - stop;
}

async function prepare(path: string): Promise<Qmp> {
  const qmp = await connectQmp(path, { waitMs: 20_000 });
  const capabilities = ["events", "x-ignore-shared"].map((capability) => ({ capability, state: true }));
  await qmp.execute("migrate-set-capabilities", { capabilities });
  await qmp.execute("migrate-set-parameters", { mode: "cpr-reboot" });
  return qmp;
}

async function statusOf(qmp: Qmp): Promise<string> {
  return (await qmp.execute("query-status")).status;
}

function timeOf(qmp: Qmp, event: string): number {
  return (qmp.events().find(({ name }) => name === event)?.timeUs ?? Number.NaN) / 1000;
}
