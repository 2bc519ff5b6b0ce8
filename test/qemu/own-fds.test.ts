// The fds that QEMU's CPR leaves behind, in one state with those that it carries, from one cprkit to another: each a process of
// its own, and a real QEMU at either end.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { fstatSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, expect, it } from "vitest";
import { receiveCprState, sendCprState } from "../../src/channel/index.ts";
import { CprState } from "../../src/cpr/index.ts";
import { closeFds, createMemfd, isOpen, socketPair } from "../../src/linux/index.ts";
import { takeOwnFds, takeVmFds } from "../../src/qemu/index.ts";
import { connectQmp } from "../../src/qemu/qmp/client.ts";
import { repoRoot } from "../support/cli.ts";
import { expectNoFdLeak } from "../support/fds.ts";
import { describeQemu } from "../support/qemu.ts";
import { assertContiguous } from "../support/serial-log.ts";
import { bridgeOrSkip, endOnTaps, startOnTap } from "./bridge.ts";
import { ask, startPlain, type Updatable } from "./update-support.ts";

afterEach(endOnTaps);

it("come out of a state by name and id, in their order, and leave the rest to QEMU", () =>
  expectNoFdLeak(async () => {
    const names: [string, number][] = [
      ["pc.ram", 0],
      ["cprkit/netdev/n0", 0],
      ["ram0", 0],
      ["cprkit/netdev/n0", 1],
    ];
    const state = new CprState();
    const fds = names.map(([name, id]) => {
      const fd = createMemfd(name);
      state.saveFd(name, id, fd);
      return fd;
    });
    const [from, to] = socketPair();
    const [sent, received] = await Promise.all([sendCprState(from, state), receiveCprState(to)]);
    const own = takeOwnFds(received.state);
    received.hangUp();
    await sent.hungUp();
    const keys = (of: CprState) => of.entries().map(({ name, id }) => [name, id]);
    expect(keys(own)).toEqual([names[3], names[1]]);
    expect(keys(received.state)).toEqual([names[2], names[0]]);
    for (const [at, [name, id]] of names.entries()) {
      const there = (name.startsWith("cprkit/") ? own : received.state).findFd(name, id);
      expect(fstatSync(there).ino).toBe(fstatSync(fds[at] ?? -1).ino);
    }
    closeFds([...fds, ...[...own, ...received.state].map(({ fd }) => fd)]);
  }));

describeQemu("fds of a real QEMU that CPR leaves behind", ["10.0"], (qemu) => {
  it("are duplicated, close-on-exec, until they are let go", async () => {
    const vm = await startPlain(qemu["10.0"], (dir) => ["-qmp", `unix:${join(dir, "more")},server=on,wait=off`]);
    await expectNoFdLeak(async () => {
      using taken = await takeVmFds({ qmp: vm.qmp });
      const entries = taken.state.entries().reverse();
      expect(entries.map(({ name, id }) => [name, id])).toEqual([
        ["cprkit/chardev/compat_monitor0", 0],
        ["cprkit/chardev/compat_monitor1", 0],
      ]);
      taken.close();
      taken.close();
      expect(entries.map(({ fd }) => isOpen(fd))).toEqual([false, false]);
    });
  });
});

describeQemu(
  "from one cprkit to another",
  ["10.0", "11.1"],
  (qemu) => {
    it("a tap and a monitor's socket, and the guest keeps its network", async (context) => {
      const bridge = bridgeOrSkip(context);
      const vm = await startOnTap(qemu["10.0"], bridge, {});
      const before = bridge.tapState();
      const at = (name: string) => join(vm.dir, name);
      const channel = (name: string, type: string) => ({
        "channel-type": type,
        addr: { transport: "socket", type: "unix", path: at(name) },
      });
      const words = readFileSync(`/proc/${vm.pid}/cmdline`, "utf8").split("\0").slice(1, -1);
      const command = [
        qemu["11.1"],
        ...words.flatMap((word) => {
          if (word.startsWith("tap,")) return ["tap,id=n0,fd=11"];
          if (word === "-qmp") return ["-mon"];
          return word.startsWith(`unix:${vm.qmp}`) ? ["chardev=q,mode=control"] : [word];
        }),
        ...["-chardev", "socket,id=q,fd=10,server=on,wait=off"],
        ...["-incoming", `unix:${at("main")}`, "-incoming", JSON.stringify(channel("new", "cpr"))],
      ];
      const stop = await bridge.startPeer(500);
      const second = startTap(["--listen", at("between"), "--connect", at("new"), "--json", "--", ...command]);
      const first = startTap(["--listen", at("tap"), "--connect", at("between"), "--fds-of", vm.qmp, "--json"]);
      await first.line("listening");
      await second.line("listening");
      await ask(vm, async (qmp) => {
        await qmp.execute("migrate-set-parameters", { mode: "cpr-transfer" });
        await qmp.execute("migrate", { channels: [channel("main", "main"), channel("tap", "cpr")] });
        const status = async () => (await qmp.execute("query-status")).status;
        await expect.poll(status, { timeout: 20_000, interval: 5 }).toBe("postmigrate");
      });
      const [old, now] = [await first.end(), await second.end()];
      process.kill(vm.pid, "SIGKILL");
      const ownOf = (lines: readonly State[]) =>
        lines.find(({ event }) => event === "state")?.own?.map(({ name, id, what }) => [name, id, what]);
      expect(ownOf(old)).toEqual(ownOf(now));
      expect(ownOf(now)).toMatchObject([
        ["cprkit/netdev/n0", 0, `tap ${bridge.tap}`],
        ["cprkit/chardev/compat_monitor0", 0, expect.stringMatching(/^socket/)],
      ]);
      expect(now.at(-1)).toMatchObject({ event: "hangup", by: "destination" });

      await expect.poll(() => vm.qemus().includes(vm.pid), { timeout: 5_000 }).toBe(false);
      const [pid = 0] = vm.qemus();
      const environment = readFileSync(`/proc/${pid}/environ`, "utf8").split("\0");
      expect(environment).toContain("CPRKIT_FDS=cprkit/chardev/compat_monitor0:0=10 cprkit/netdev/n0:0=11");
      expect(await statusOf(vm)).toBe("running");
      expect(bridge.tapState()).toBe(before);
      await vm.serial.waitForMore(20, 20_000);
      const said = await stop();
      expect(said.tcp.wrong).toBe(0);
      expect(said.lost.at(-1) ?? 0).toBeLessThan(said.sent - 100);
      expect(said.lost.length).toBeLessThan(50);
      assertContiguous(vm.serial);
    });

    it("a command that can't be started ends the tap, and the guest stays where it was", async () => {
      const vm = await startPlain(qemu["10.0"]);
      const at = (name: string) => join(vm.dir, name);
      const tap = startTap(["--listen", at("tap"), "--connect", at("new"), "--", at("none")]);
      await tap.line("Waiting");
      await ask(vm, async (qmp) => {
        const unix = (name: string) => ({ transport: "socket", type: "unix", path: at(name) });
        const channels = [
          { "channel-type": "main", addr: unix("main") },
          { "channel-type": "cpr", addr: unix("tap") },
        ];
        await qmp.execute("migrate-set-parameters", { mode: "cpr-transfer" });
        await qmp.execute("migrate", { channels }).catch(() => undefined);
      });
      await tap.failed(/can't be started/);
      expect(await statusOf(vm)).toBe("running");
    });
  },
  { linux: true },
);

interface State {
  readonly event: string;
  readonly own?: readonly { readonly name: string; readonly id: number; readonly what: string }[];
}

function startTap(args: readonly string[]) {
  const child = spawn(process.execPath, ["bin/cprkit", "tap", ...args], {
    cwd: repoRoot,
    stdio: ["ignore", "pipe", "pipe"],
  });
  let [out, err] = ["", ""];
  child.stdout.setEncoding("utf8").on("data", (text: string) => {
    out += text;
  });
  child.stderr.setEncoding("utf8").on("data", (text: string) => {
    err += text;
  });
  const exit = once(child, "exit").then(([code]) => code as number | null);
  return {
    line: (text: string) => expect.poll(() => out + err, { timeout: 20_000, interval: 10 }).toContain(text),
    end: async (): Promise<State[]> => {
      // What the new QEMU says comes there, too.
      expect(await exit, err).toBe(0);
      return out
        .split("\n")
        .slice(0, -1)
        .map((line) => JSON.parse(line) as State);
    },
    failed: async (why: RegExp) => {
      expect(await exit).not.toBe(0);
      expect(err).toMatch(why);
    },
  };
}

async function statusOf(vm: Updatable): Promise<string> {
  const qmp = await connectQmp(vm.qmp, { waitMs: 10_000 });
  try {
    return (await qmp.execute("query-status")).status;
  } finally {
    await qmp.close();
  }
}
