// ensureUpdated: however often it is asked, and by how many, a VM is updated once; programs are known by what they are.
import { afterEach, expect, it, vi } from "vitest";
import { ensureUpdated } from "../../src/qemu/ensure/ensure.ts";
import { abortUpdate } from "../../src/qemu/update/recover.ts";
import { vmStatus } from "../../src/qemu/update/status.ts";
import { updateVm } from "../../src/qemu/update/update.ts";
import type { UpdateModeName } from "../../src/qemu/vm/binary.ts";
import { cprkit } from "../support/cli.ts";
import { describeQemu } from "../support/qemu.ts";
import { ensure, ensureBeside, expectOnce, type Kill, startFor } from "./ensure-kills.ts";
import { copyOf, counted } from "./ensure-support.ts";
import { endAll, runStates, startPlain } from "./update-support.ts";

afterEach(endAll);

// Each test runs the command many times.
vi.setConfig({ testTimeout: 240_000 });

describeQemu("ensureUpdated", ["10.0", "11.1"], (qemu) => {
  it("ten at once update once; the same key gets the first answer", async () => {
    const vm = await startPlain(qemu["10.0"]);
    const { qmp, stateDir, qemus } = vm;
    const wanted = counted(qemu["11.1"]);
    const ask = (key?: string) => ensureUpdated({ qmp }, { qemu: wanted.program, stateDir, key });
    // Five in this process, five in a process each.
    const beside = (key: string) => ensureBeside(vm, wanted.program, ["--key", key]);
    const answers = await Promise.all(
      Array.from({ length: 10 }, (_, at) => (at % 2 === 0 ? ask : beside)(`request ${at}`)),
    );
    const results = answers.map(({ result }) => result).sort();
    expect(results).toEqual([...Array<string>(9).fill("nothing-to-do"), "updated"]);
    expect(wanted.starts()).toBe(1);
    expect(qemus()).toHaveLength(1);
    const first = answers.findIndex(({ result }) => result === "updated");
    const again = await ask(`request ${first}`);
    expect(again).toMatchObject({ result: "updated", repeated: true, report: { to: answers[first]?.report?.to } });
    // Its process has ended since.
    const byPid = (key: string) => ensureUpdated({ pid: vm.pid }, { qemu: wanted.program, stateDir, key });
    expect(await byPid(`request ${first}`)).toEqual(again);
    expect(await ask("another")).toMatchObject({ result: "nothing-to-do", repeated: false, pid: qemus()[0] });
    expect((await vmStatus({ qmp }, { stateDir })).update?.outcome).toBe("updated");
  });

  // All places are in ensure.long.test.ts.
  const killed: readonly (readonly [UpdateModeName, Kill["when"], Kill["step"]])[] = [
    ["cpr-transfer", "before", "done"],
    ["cpr-exec", "reached", "stopped"],
  ];
  it.each(killed)("%s, killed %s %s, and asked again: updated once", async (mode, when, step) => {
    const { vm, wanted } = await startFor(mode, qemu);
    await expectOnce(mode, vm, wanted, [{ step, when }]);
  });

  it("killed when the update was over: its answer is made of the journal, which the next update does not take away", async () => {
    const { vm, wanted } = await startFor("cpr-transfer", qemu);
    const ask = (...words: string[]) => ensure(vm, wanted.program, words);
    expect(ensure(vm, wanted.program, ["--key", "a"], { step: "answer", when: "before" }).signal).toBe("SIGKILL");
    const [pid] = vm.qemus();
    expect(ask("--key", "b").answer).toMatchObject({ result: "nothing-to-do", repeated: false, pid });
    // This one's journal takes the place of that of "a".
    await updateVm({ qmp: vm.qmp }, { qemu: qemu["10.0"], stateDir: vm.stateDir });
    const { answer } = ask("--key", "a");
    expect(answer).toMatchObject({ result: "updated", repeated: true, pid, fromJournal: { sourcePid: vm.pid, pid } });
    const { from, to, mode, downtimeMs, stopUs, resumeUs } = answer.fromJournal;
    expect([from, to, mode]).toEqual([
      expect.stringMatching(/^10\.0\./),
      expect.stringMatching(/^11\.1\./),
      "cpr-transfer",
    ]);
    expect(downtimeMs).toBe((resumeUs - stopUs) / 1000);
    expect(downtimeMs).toBeGreaterThan(0);
    expect(vm.qemus()).not.toEqual([pid]);
    // And that of another key was not taken for it.
    expect(ask("--key", "b").answer).toMatchObject({ result: "nothing-to-do", repeated: true, pid });
  });

  it("killed when only the new QEMU was left: it is not ended because it does not answer", async () => {
    const { vm, wanted } = await startFor("cpr-transfer", qemu);
    expect(ensure(vm, wanted.program, ["--key", "a"], { step: "done", when: "before" }).signal).toBe("SIGKILL");
    const [pid = 0] = vm.qemus();
    process.kill(pid, "SIGSTOP");
    const target = { qmp: vm.qmp };
    await expect(abortUpdate(target, { stateDir: vm.stateDir, timeoutMs: 1_000 })).rejects.toThrow(
      "the new QEMU may have the guest, but does not answer",
    );
    expect(vm.qemus()).toEqual([pid]);
    process.kill(pid, "SIGCONT");
    // By the process that it had been asked for, which has ended.
    const answer = await ensureUpdated({ pid: vm.pid }, { qemu: wanted.program, stateDir: vm.stateDir, key: "a" });
    expect(answer).toMatchObject({ result: "updated", recovered: "updated", pid, fromJournal: { sourcePid: vm.pid } });
    expect([...(await runStates(vm))]).toEqual([[pid, "running"]]);
  });

  it("a copy is the same QEMU, a build of the same version is another one; exit codes say it", async () => {
    const { qmp, stateDir, pid, qemus } = await startPlain(qemu["10.0"]);
    const run = (program: string, ...words: string[]) => {
      const { code, stdout } = cprkit([
        ...["ensure", "--qmp", qmp, "--qemu", program, "--state-dir", stateDir, "--json"],
        ...words,
      ]);
      return { code, result: JSON.parse(stdout).result };
    };
    expect(run(copyOf(qemu["10.0"], { rebuilt: false }))).toEqual({ code: 0, result: "nothing-to-do" });
    expect(qemus()).toEqual([pid]);
    expect(run(copyOf(qemu["10.0"], { rebuilt: true }))).toEqual({ code: 0, result: "updated" });
    expect(qemus()).not.toEqual([pid]);
    expect(run("/nonexistent/qemu")).toEqual({ code: 1, result: "refused" });
    const nobody = cprkit(["ensure", "--qmp", "/nonexistent/qmp", "--qemu", "/bin/true", "--wait", "0", "--json"]);
    expect({ code: nobody.code, result: JSON.parse(nobody.stdout).result }).toEqual({ code: 4, result: "try-again" });
    expect(cprkit(["ensure", "--qmp", qmp]).code).toBe(2);
  });
});
