// `cprkit tap` in a process of its own between two real QEMUs.

import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { connectQmp } from "../../src/qemu/index.ts";
import { cprkit, repoRoot } from "../support/cli.ts";
import { describeQemu, usableAccel } from "../support/qemu.ts";
import { assertContiguous } from "../support/serial-log.ts";
import { privateDir, startVm, type Vm } from "../support/vm.ts";

const machine = "pc-q35-10.0";
const incoming = (dir: string) => [
  `unix:${dir}/main.sock`,
  JSON.stringify({ "channel-type": "cpr", addr: unix(dir, "cpr") }),
];
const unix = (dir: string, name: string) => ({ transport: "socket", type: "unix", path: join(dir, `${name}.sock`) });

interface Tap {
  readonly process: ChildProcess;
  readonly lines: () => string[];
  readonly stderr: () => string;
  readonly exit: Promise<number | null>;
}

function startTap(dir: string, ...more: string[]): Tap {
  const args = ["bin/cprkit", "tap", "--listen", `${dir}/tap.sock`, "--connect", `${dir}/cpr.sock`, ...more];
  const child = spawn(process.execPath, args, { cwd: repoRoot, stdio: ["ignore", "pipe", "pipe"] });
  let out = "";
  let err = "";
  child.stdout.setEncoding("utf8").on("data", (text: string) => {
    out += text;
  });
  child.stderr.setEncoding("utf8").on("data", (text: string) => {
    err += text;
  });
  return {
    process: child,
    lines: () => out.split("\n").filter((line) => line !== ""),
    stderr: () => err,
    exit: once(child, "close").then(([code]) => code as number | null),
  };
}

async function until(condition: () => boolean, what: string): Promise<void> {
  const end = performance.now() + 20_000;
  while (!condition()) {
    if (performance.now() > end) throw new Error(`not within 20 s: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

async function migrate(source: Vm, dir: string): Promise<void> {
  const qmp = await connectQmp(source.qmpPath, { waitMs: 10_000 });
  try {
    await qmp.execute("migrate-set-parameters", { mode: "cpr-transfer" });
    await qmp.execute("migrate", {
      channels: [
        { "channel-type": "main", addr: unix(dir, "main") },
        { "channel-type": "cpr", addr: unix(dir, "tap") },
      ],
    });
  } finally {
    await qmp.close();
  }
}

describeQemu("cprkit tap", ["10.0", "11.1"], (qemu) => {
  test("11.1 to 10.0 with --for 10.0: shows and records the state, and the guest counts on", async () => {
    const dir = privateDir();
    const accel = await usableAccel(qemu["10.0"]);
    const source = await startVm({ qemu: qemu["11.1"], machine, accel, guest: "firmware", dir });
    await source.serial.waitForCount(10, 20_000);
    const destination = await startVm({
      qemu: qemu["10.0"],
      machine,
      accel,
      guest: "firmware",
      dir,
      incoming: incoming(dir),
    });
    const tap = startTap(dir, "--for", "10.0", "--record", join(dir, "cpr.bin"), "--json");
    await until(() => tap.lines().length > 0, "the tap listens");
    await migrate(source, dir);
    expect(await tap.exit).toBe(0);
    await destination.serial.waitForMore(20, 20_000);
    const [listening, connected, state, hangup] = tap.lines().map((line) => JSON.parse(line));
    expect(listening).toEqual({ event: "listening", path: join(dir, "tap.sock") });
    expect(connected).toEqual({ event: "connected", connecting: join(dir, "cpr.sock") });
    expect(state).toMatchObject({ event: "state", abi: "list", warnings: [] });
    expect(state.received - state.sent).toBe(28);
    expect(state.fds.find(({ name }: { name: string }) => name === "ram0").what).toBe("memfd:memory-backend-memfd");
    expect(hangup).toMatchObject({ event: "hangup", by: "destination" });
    assertContiguous(source.serial, destination.serial);
    const report = JSON.parse(cprkit(["inspect", "--json", join(dir, "cpr.bin")]).stdout);
    expect(report.fds.map(({ name }: { name: string }) => name)).toEqual(
      state.fds.map(({ name }: { name: string }) => name),
    );
    expect(readFileSync(join(dir, "cpr.bin")).length).toBe(state.received);
    expect(existsSync(join(dir, "tap.sock"))).toBe(false);
  });

  test("Ctrl-C before the new QEMU is there: exit code 4, and the guest counts on where it was", async () => {
    const dir = privateDir();
    const source = await startVm({
      qemu: qemu["10.0"],
      machine,
      accel: await usableAccel(qemu["10.0"]),
      guest: "firmware",
      dir,
    });
    await source.serial.waitForCount(10, 20_000);
    const tap = startTap(dir);
    await until(() => tap.lines().length > 0, "the tap listens");
    tap.process.kill("SIGINT");
    expect(await tap.exit).toBe(4);
    expect(tap.stderr()).toMatch(/^cprkit: interrupted by SIGINT: nobody had connected/);
    expect(existsSync(join(dir, "tap.sock"))).toBe(false);
    await expect(migrate(source, dir)).rejects.toThrow(/connect/i);
    await source.serial.waitForMore(20, 20_000);
    assertContiguous(source.serial);
  });
});
