// Several VMs updated from one process: side by side, never two in the switch, each with an outcome of its own.
import { spawn } from "node:child_process";
import { chmodSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { afterEach, expect, it } from "vitest";
import { findVms } from "../../src/qemu/many/find.ts";
import { type UpdateManyEvent, updateMany } from "../../src/qemu/many/update-many.ts";
import type { UpdateStep } from "../../src/qemu/update/steps.ts";
import { askNewQemu, newQemuCommand } from "../../src/qemu/vm/new-qemu.ts";
import { readVmProcess } from "../../src/qemu/vm/process.ts";
import { describeQemu } from "../support/qemu.ts";
import { assertContiguous } from "../support/serial-log.ts";
import { privateDir } from "../support/vm.ts";
import { endAll, runStates, startUpdatable, type Updatable } from "./update-support.ts";

afterEach(endAll);

/** Starts QEMU and writes a line for each start. */
function countingWrapper(qemu: string): { readonly program: string; starts(): string[] } {
  const dir = privateDir();
  const [program, log] = [join(dir, "qemu-counted"), join(dir, "starts")] as const;
  writeFileSync(program, `#!/bin/sh\necho "$*" >>'${log}'\nexec '${qemu}' "$@"\n`);
  chmodSync(program, 0o755);
  writeFileSync(log, "");
  return { program, starts: () => readFileSync(log, "utf8").split("\n").filter(Boolean) };
}

async function expectOneRuns(vm: Updatable): Promise<void> {
  expect([...(await runStates(vm)).values()]).toEqual(["running"]);
  await vm.serial.waitForMore(5, 10_000);
  assertContiguous(vm.serial);
}

describeQemu("several VMs in one process", ["10.0", "11.1"], (qemu) => {
  const start = (name: string, ram: "memfd" | "plain" = "memfd") =>
    startUpdatable({
      ...{ machine: "pc-q35-10.0", accel: "tcg", qemu: qemu["10.0"], ram },
      extraArgs: () => ["-name", `guest=${name}`],
    });

  it("one that is refused hinders nobody; never two in the switch; the binary is asked once", async () => {
    const vms = [await start("a"), await start("b", "plain"), await start("c"), await start("d")];
    const wrapper = countingWrapper(qemu["11.1"]);
    const stateDir = join(privateDir(), "state");
    const events: UpdateManyEvent[] = [];
    const inSwitch = new Set<unknown>();
    let most = 0;
    let atOnce = 0;
    const under = new Set<unknown>();
    const before: UpdateStep[] = ["before-switch", "switching", "stopped"];
    const outcomes = await updateMany(vms, {
      ...{ qemu: wrapper.program, atOnce: 3, stateDir },
      onEvent: (event) => {
        events.push(event);
        if (event.event === "begun") under.add(event.vm);
        if (event.event === "ended") under.delete(event.vm);
        if (event.event === "step" && before.includes(event.step)) inSwitch.add(event.vm);
        if (event.event === "ended" || (event.event === "step" && event.step === "running")) inSwitch.delete(event.vm);
        most = Math.max(most, inSwitch.size);
        atOnce = Math.max(atOnce, under.size);
      },
    });
    expect(outcomes.map(({ outcome }) => outcome)).toEqual(["updated", "failed", "updated", "updated"]);
    expect(outcomes[1]).toMatchObject({
      error: { code: "ERR_UPDATE_REFUSED", message: expect.stringContaining("aux-ram") },
    });
    expect([most, atOnce]).toEqual([1, 3]);
    expect(wrapper.starts().filter((words) => words.includes("-machine none"))).toHaveLength(1);
    expect(wrapper.starts()).toHaveLength(4);
    const again = { qemu: wrapper.program, ensure: true, stateDir };
    const after = (await updateMany(vms, again)).map(({ outcome }) => outcome);
    expect(after).toEqual(["up-to-date", "failed", "up-to-date", "up-to-date"]);
    expect(wrapper.starts().filter((words) => !words.includes("-machine none"))).toHaveLength(3);
    for (const vm of vms) await expectOneRuns(vm);
    // Every one begins and ends once, and no step comes after the end.
    for (const vm of vms) {
      const own = events.filter((event) => event.vm === vm).map(({ event }) => event);
      expect([own[0], own.at(-1)]).toEqual(["begun", "ended"]);
      expect(own.filter((event) => event === "ended")).toHaveLength(1);
    }
  });

  it("a VM whose update is given up takes the binary's answer from nobody", async () => {
    const program = join(privateDir(), "qemu-slow");
    writeFileSync(program, `#!/bin/sh\nsleep 0.5\nexec '${qemu["11.1"]}' "$@"\n`, { mode: 0o755 });
    const running = readVmProcess(process.pid);
    const command = newQemuCommand(running, program);
    const [sharing, abort] = [{}, new AbortController()];
    const first = askNewQemu(command, running, { sharing, signal: abort.signal });
    const second = askNewQemu(command, running, { sharing });
    abort.abort();
    await expect(first).rejects.toMatchObject({ code: "ERR_ABORTED" });
    expect(Object.keys((await second).said)).toContain("abilities");
    // That answer is kept.
    rmSync(program);
    expect((await askNewQemu(command, running, { sharing })).said).toBe((await second).said);
  });

  it("finds them by name, on the command line; Ctrl-C takes back what can be and begins no other", async () => {
    const vms = [await start("many-a"), await start("many-b"), await start("many-c"), await start("other")];
    const found = await findVms();
    const names = (list: typeof found) =>
      list.flatMap(({ name }) => name ?? []).filter((name) => /^(many|other)/.test(name));
    expect(names(found)).toEqual(["many-a", "many-b", "many-c", "other"]);
    expect(found.find(({ name }) => name === "other")).toMatchObject({ pid: vms[3]?.pid, qmp: vms[3]?.qmp });

    const words = ["bin/cprkit", "update", "--match", "many-*", "--qemu", qemu["11.1"], "--at-once", "1", "--json"];
    const child = spawn(process.execPath, [...words, "--state-dir", join(privateDir(), "state")], {
      stdio: ["ignore", "pipe", "inherit"],
    });
    const seen: { readonly event: string; readonly vm?: { readonly name: string }; readonly step?: string }[] = [];
    const outcomes = new Map<string, string>();
    let done: unknown;
    for await (const line of createInterface({ input: child.stdout })) {
      const event = JSON.parse(line);
      seen.push(event);
      if (event.event === "step" && event.vm.name === "many-b" && event.step === "journalled") child.kill("SIGINT");
      if (event.event === "ended") outcomes.set(event.vm.name, event.outcome);
      if (event.event === "done") done = event;
    }
    expect([...outcomes]).toEqual([
      ["many-a", "updated"],
      ["many-b", "failed"],
      ["many-c", "not-begun"],
    ]);
    expect(done).toEqual({ event: "done", updated: 1, upToDate: 0, failed: 1, notBegun: 1 });
    expect(child.exitCode ?? (await new Promise((resolve) => child.once("exit", resolve)))).toBe(4);
    for (const vm of vms) await expectOneRuns(vm);
    expect(vms.map((vm) => vm.qemus()[0] === vm.pid)).toEqual([false, true, true, true]);
  });
});
