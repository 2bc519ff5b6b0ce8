// cpr-exec of a real QEMU 11.1: what it keeps for the new program is read from outside, and the guest counts on.
import { chmodSync, existsSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { expect, it } from "vitest";
import { cprExecVariable, readExecCprState } from "../../src/channel/index.ts";
import { describeFd, readFdInfo } from "../../src/linux/index.ts";
import { connectQmp, type Qmp } from "../../src/qemu/index.ts";
import { isCprkitError } from "../../src/vmstate/error.ts";
import { expectNoFdLeak } from "../support/fds.ts";
import { describeQemu } from "../support/qemu.ts";
import { assertContiguous } from "../support/serial-log.ts";
import { endAll, expectStayed, freshPaths, startSource, untilStatus } from "./tap-support.ts";

/** Starts cpr-exec into `command`, with the main channel in a file. */
async function execInto(qmp: Qmp, command: readonly string[], file: string): Promise<void> {
  await qmp.execute("migrate-set-capabilities", { capabilities: [{ capability: "events", state: true }] });
  await qmp.execute("migrate-set-parameters", { mode: "cpr-exec", "cpr-exec-command": command });
  await qmp.execute("migrate", { uri: `file:${file}` });
}

/** The number in the process's environment of now, once it is there. */
async function stateFd(pid: number): Promise<number> {
  for (const end = performance.now() + 20_000; performance.now() < end; await delay(5)) {
    const variables = readFileSync(`/proc/${pid}/environ`, "latin1").split("\0");
    const found = variables.find((variable) => variable.startsWith(`${cprExecVariable}=`));
    if (found !== undefined) return Number(found.slice(cprExecVariable.length + 1));
  }
  throw new Error(`${cprExecVariable} did not appear`);
}

/** The old program's monitor hangs up a moment before its listening socket is gone, which still takes connections. */
async function reconnect(path: string): Promise<Qmp> {
  for (;;) {
    try {
      return await connectQmp(path, { waitMs: 20_000 });
    } catch (error) {
      if (!isCprkitError(error, "ERR_QEMU_EXITED")) throw error;
    }
  }
}

describeQemu("cpr-exec", ["11.1"], (qemu) => {
  it("keeps a state that can be read from outside, names every fd, and the guest counts on", () =>
    expectNoFdLeak(async () => {
      const { dir } = freshPaths();
      const source = await startSource({ from: qemu["11.1"], to: qemu["11.1"], extraBackends: 20 });
      const { vm, qmp } = source;
      try {
        // Stands between the two programs, with the fds of both, until the test has looked.
        const wrapper = join(dir, "wrapper");
        const go = join(dir, "go");
        writeFileSync(wrapper, `#!/bin/sh\nwhile [ ! -e "${go}" ]; do sleep 0.01; done\nexec "$@"\n`);
        chmodSync(wrapper, 0o700);
        const file = join(dir, "main.state");
        await execInto(qmp, [wrapper, qemu["11.1"], ...vm.args, "-incoming", `file:${file}`], file);

        const memfd = await stateFd(vm.pid);
        const { state, abi, fdForm, warnings } = readExecCprState(vm.pid, memfd);
        expect({ abi, fdForm, warnings, vfio: state.vfioDevices }).toEqual({
          abi: "list",
          fdForm: "number",
          warnings: [],
          vfio: { devices: [] },
        });
        expect(state.size).toBe(26);
        expect(describeFd(memfd, vm.pid)).toBe(`memfd:${cprExecVariable}`);
        const listed = state.entries().map(({ name, fd }) => [name, describeFd(fd, vm.pid)]);
        expect(listed).toContainEqual(["ram0", "memfd:memory-backend-memfd"]);
        expect(listed).toContainEqual(["extra19", "memfd:memory-backend-memfd"]);
        expect(listed).toContainEqual(["pc.bios", "memfd:pc.bios"]);
        // Open across exec: QEMU cleared the flag.
        expect(state.entries().map(({ fd }) => readFdInfo(vm.pid, fd).closeOnExec)).not.toContain(true);
        const before = vm.serial.counts().at(-1)?.value ?? 0;

        writeFileSync(go, "");
        await qmp.closed;
        const next = await reconnect(vm.qmpPath);
        await untilStatus(next, "running");
        await next.close();
        await vm.serial.waitForCount(before + 50, 20_000);
        expect(assertContiguous(vm.serial).first).toBe(0);
        // The same process still; the new program took the fds over under their numbers and closes them at an exec.
        expect(vm.process.exitCode).toBeNull();
        for (const { name, fd } of state) {
          expect([name, describeFd(fd, vm.pid)]).toEqual([name, listed.find(([other]) => other === name)?.[1]]);
          expect(readFdInfo(vm.pid, fd).closeOnExec).toBe(true);
        }
      } finally {
        await endAll(source);
      }
    }));

  it("that cannot start the new program leaves the guest in the old one", () =>
    expectNoFdLeak(async () => {
      const { dir } = freshPaths();
      const source = await startSource({ from: qemu["11.1"], to: qemu["11.1"] });
      try {
        const command = join(dir, "absent");
        const migrated = source.qmp.waitForEvent(
          ({ name, data }) => name === "MIGRATION" && data["status"] === "failed",
        );
        await execInto(source.qmp, [command, "-incoming", "defer"], join(dir, "main.state"));
        await migrated;
        expect(existsSync(command)).toBe(false);
        expect(await expectStayed(source)).toContain("execvp");
      } finally {
        await endAll(source);
      }
    }));
});
