// CPUs, priorities and cgroups of the new QEMU's threads are those that the running one's have now.
import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, rmdirSync, writeFileSync } from "node:fs";
import { cpus, getPriority } from "node:os";
import { afterEach, expect, it } from "vitest";
import { connectQmp } from "../../src/qemu/qmp/client.ts";
import type { UpdateReport } from "../../src/qemu/update/options.ts";
import { updateVm } from "../../src/qemu/update/update.ts";
import { isRoot } from "../support/other-user.ts";
import { describeQemu } from "../support/qemu.ts";
import { endAll, startUpdatable, type Updatable } from "./update-support.ts";

const cgroups = ["/sys/fs/cgroup/cpu/cprkit-test", "/sys/fs/cgroup/cpu/cprkit-test/vcpu1"];

afterEach(async () => {
  await endAll();
  // A process that has just ended leaves its group a little later.
  for (const path of [...cgroups].reverse()) {
    if (existsSync(path)) await expect.poll(() => removed(path), { timeout: 10_000 }).toBe(true);
  }
});

function removed(path: string): boolean {
  try {
    rmdirSync(path);
    return true;
  } catch {
    return false;
  }
}

function run(...words: readonly string[]): string {
  const [program = "", ...args] = words;
  const { status, stdout, stderr } = spawnSync(program, args, { encoding: "utf8" });
  if (status !== 0) throw new Error(`${words.join(" ")}: ${stderr}`);
  return stdout;
}

/** Thread ids by role, as QEMU says them. */
async function threads(vm: Updatable) {
  const qmp = await connectQmp(vm.qmp);
  try {
    const [cpu0, cpu1] = (await qmp.execute("query-cpus-fast")).map((cpu) => cpu["thread-id"]);
    const [io] = (await qmp.execute("query-iothreads")).map((each) => each["thread-id"]);
    return { main: qmp.peer.pid, cpu0: cpu0 ?? 0, cpu1: cpu1 ?? 0, io: io ?? 0 };
  } finally {
    await qmp.close();
  }
}

/** As the tools of the system say it. */
function look(pid: number, tid: number): Record<string, string> {
  return {
    cpus: run("taskset", "-p", String(tid)).replace(/^.*: /, "").trim(),
    // The priorities and the name of the policy.
    policy: run("chrt", "-p", String(tid)).replaceAll(String(tid), "").trim(),
    io: run("ionice", "-p", String(tid)).trim(),
    nice: String(getPriority(tid)),
    cgroup: readFileSync(`/proc/${pid}/task/${tid}/cgroup`, "utf8"),
  };
}

/** Not where no process before it began a session (setsid(2)), as in some containers: the file is empty then. */
function hasAutogroup(pid: number): boolean {
  const file = `/proc/${pid}/autogroup`;
  return existsSync(file) && readFileSync(file, "utf8") !== "";
}

async function lookAtAll(vm: Updatable) {
  const { main, ...others } = await threads(vm);
  return {
    oom: readFileSync(`/proc/${main}/oom_score_adj`, "utf8"),
    autogroup: hasAutogroup(main) ? readFileSync(`/proc/${main}/autogroup`, "utf8").replace(/^\S+/, "") : " nice 0\n",
    main: look(main, main),
    ...Object.fromEntries(Object.entries(others).map(([role, tid]) => [role, look(main, tid)])),
  };
}

const hasCgroup = existsSync("/sys/fs/cgroup/cpu/cgroup.procs");

describeQemu("an update keeps", ["10.0", "11.1"], (qemu) => {
  for (const [from, later, mode] of [
    ["10.0", ["11.1", "10.0"], "cpr-transfer"],
    ["11.1", ["11.1"], "cpr-exec"],
  ] as const) {
    it.runIf(isRoot && cpus().length > 1)(`each thread's: ${[from, ...later].join(" -> ")}, ${mode}`, async () => {
      const vm = await startUpdatable({
        ...{ machine: "pc-q35-10.0", accel: "tcg", qemu: qemu[from] },
        extraArgs: () => ["-smp", "2", "-object", "iothread,id=io0"],
        // Of a session of its own: the group's nice value would be that of all other tests, too.
        prefix: ["setsid"],
      });
      const { main, cpu0, cpu1, io } = await threads(vm);
      run("taskset", "-p", "1", String(cpu0));
      run("taskset", "-p", "2", String(cpu1));
      run("renice", "-n", "5", "-p", String(main));
      run("renice", "-n", "-7", "-p", String(cpu1));
      run("chrt", "--batch", "-p", "0", String(cpu0));
      run("ionice", "-c", "2", "-n", "1", "-p", String(io));
      run("ionice", "-c", "3", "-p", String(main));
      writeFileSync(`/proc/${main}/oom_score_adj`, "123");
      if (hasAutogroup(main)) writeFileSync(`/proc/${main}/autogroup`, "3");
      if (hasCgroup) {
        for (const path of cgroups) mkdirSync(path);
        writeFileSync(`${cgroups[0]}/cgroup.procs`, String(main));
        writeFileSync(`${cgroups[1]}/tasks`, String(cpu1));
      }
      const before = await lookAtAll(vm);
      expect(before.main).not.toEqual(look(process.pid, process.pid));
      for (const version of later) {
        const report = await updateVm({ qmp: vm.qmp }, { qemu: qemu[version], mode, stateDir: vm.stateDir });
        expect(await lookAtAll(vm)).toEqual(before);
        expect(report.warnings.filter((text) => !text.includes("is older than the running"))).toEqual([]);
      }
    });
  }

  it.runIf(isRoot)("nothing differs where the running QEMU's session began before all others", async () => {
    const vm = await startUpdatable({ machine: "pc-q35-10.0", accel: "tcg", qemu: qemu["10.0"] });
    // As the kernel shows a process whose group is its own: in a namespace where the file is empty.
    const words = [
      "bin/cprkit",
      "update",
      "--qmp",
      vm.qmp,
      "--qemu",
      qemu["11.1"],
      "--state-dir",
      vm.stateDir,
      "--json",
    ];
    const script = `mount --bind /dev/null /proc/${vm.pid}/autogroup && exec "$@"`;
    const { status, stdout, stderr } = spawnSync(
      "unshare",
      ["--mount", "sh", "-c", script, "sh", process.execPath, ...words],
      { encoding: "utf8", timeout: 60_000 },
    );
    expect(stderr + (status === 0 ? "" : stdout)).toBe("");
    const report = JSON.parse(stdout) as UpdateReport;
    expect([report.outcome, report.comparison.after?.differences]).toEqual(["updated", []]);
  });
});
