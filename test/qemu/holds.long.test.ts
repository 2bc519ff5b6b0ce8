// The checks of `npm run kills` and `npm run soak` notice what they are there to notice.
import { spawn } from "node:child_process";
import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, expect, it } from "vitest";
import { verdictOf, verdictOfLost } from "../../scripts/reliability/holds.ts";
import { mark, type Subject, startVm } from "../../scripts/reliability/vms.ts";
import { describeQemu } from "../support/qemu.ts";

let vm: Subject | undefined;
afterEach(async () => {
  await vm?.end();
  vm = undefined;
});

describeQemu("the checks after each round", ["10.0", "11.1"], () => {
  it("find nothing wrong with a VM that nobody touched", async () => {
    vm = await startVm("10.0", "tcg", "memfd");
    expect(await verdictOf(vm, () => undefined)).toMatchObject({ pid: vm.pid, wrong: [] });
  });

  it("name a process, a file and an fd that are left", async () => {
    vm = await startVm("10.0", "tcg", "memfd");
    const { open } = await verdictOf(vm, () => undefined);
    mkdirSync(vm.stateDir, { mode: 0o700 });
    writeFileSync(join(vm.stateDir, "journal.json.new"), "");
    const child = spawn("sleep", ["1000"], { env: { ...process.env, [mark]: vm.home }, stdio: "ignore" });
    const [kind = "", count = 0] = [...open][0] ?? [];
    const { wrong } = await verdictOf(vm, () => new Map([...open, [kind, count - 1]]));
    expect(wrong).toEqual([
      `left behind: process ${child.pid}, sleep 1000`,
      "left behind: file journal.json.new",
      `QEMU has ${count} fds of ${kind}, and had ${count - 1}`,
    ]);
    rmSync(vm.stateDir, { recursive: true });
    expect((await verdictOf(vm, () => open)).wrong).toEqual([]);
  });

  it("say that a guest does not count on, or is gone", async () => {
    vm = await startVm("10.0", "tcg", "memfd");
    process.kill(vm.pid, "SIGSTOP");
    const { pid, wrong } = await verdictOf(vm, () => undefined);
    expect([pid, wrong]).toEqual([0, [`QEMUs: [[${vm.pid},"silent"]]`]]);
    // Which ends what it finds.
    expect(await verdictOfLost(vm)).toEqual([expect.stringContaining(`left behind: process ${vm.pid}, `)]);
    while (vm.qemus().length > 0) await new Promise((resolve) => setTimeout(resolve, 10));
    expect(await verdictOfLost(vm)).toEqual([]);
  });
});
