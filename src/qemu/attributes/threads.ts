// What the kernel holds of a process and its threads beside their rights: CPUs, priorities, OOM score, cgroups. The new
// QEMU gets it as the running one has it now, each thread that is known by its role what its predecessor has.

import { readFileSync, writeFileSync } from "node:fs";
import { join, relative } from "node:path";
import { readProcessFile } from "../../linux/process/proc.ts";
import { setScheduling } from "../../linux/process/scheduling.ts";
import { isCprkitError } from "../../vmstate/error.ts";
import type { Machine } from "../machine/schema.ts";
import type { Qmp } from "../qmp/client.ts";

type Process = Machine["process"];
type Thread = Process["threads"][number];

/**
 * For a process that has just been started: what it becomes, and each of its threads, begins with this. Never throws;
 * what the kernel refuses is seen when the two machines are compared.
 */
export function giveAtStart(pid: number, { threads, oomScoreAdj, autogroupNice }: Process): void {
  write(`/proc/${pid}/oom_score_adj`, String(oomScoreAdj));
  if (autogroupNice !== undefined) write(`/proc/${pid}/autogroup`, String(autogroupNice));
  const main = threads.find(({ role }) => role === "main");
  if (main !== undefined) give(pid, pid, main);
}

/** For a QEMU whose machine is built: each thread by its role. @throws CprkitError as `Qmp.execute` */
export async function giveToThreads(
  pid: number,
  qmp: Qmp,
  wanted: readonly Thread[],
  wait: { readonly timeoutMs: number },
): Promise<void> {
  const [cpus, iothreads] = await Promise.all([
    qmp.execute("query-cpus-fast", undefined, wait),
    qmp.execute("query-iothreads", undefined, wait),
  ]);
  const ids = new Map([
    ["main", pid],
    ...cpus.map((cpu) => [`vcpu ${cpu["cpu-index"]}`, cpu["thread-id"]] as const),
    ...iothreads.map(({ id, "thread-id": thread }) => [`iothread ${id}`, thread] as const),
  ]);
  for (const thread of wanted) {
    const tid = ids.get(thread.role);
    if (tid !== undefined) give(pid, tid, thread);
  }
}

function give(pid: number, tid: number, thread: Thread): void {
  try {
    giveCgroups(pid, tid, thread.cgroups);
    setScheduling(pid, tid, thread);
  } catch (error) {
    // It has ended, which others tell.
    if (!isCprkitError(error)) throw error;
  }
}

function giveCgroups(pid: number, tid: number, wanted: Thread["cgroups"]): void {
  const now = cgroupsOf(readProcessFile(pid, `task/${tid}/cgroup`));
  for (const [controllers, path] of Object.entries(wanted)) {
    if (now[controllers] === path) continue;
    const mount = cgroupMounts().find((each) => each.controllers === controllers);
    const name = pid === tid ? "cgroup.procs" : controllers === "" ? "cgroup.threads" : "tasks";
    if (mount !== undefined) write(join(mount.at, relative(mount.root, path), name), String(tid));
  }
}

/** proc_pid_cgroup(5): the path in each tree, by the names of its controllers; "" is cgroup v2. */
export function cgroupsOf(text: string): Record<string, string> {
  const lines = text.split("\n").flatMap((line) => {
    const [, controllers, path] = /^\d+:([^:]*):(.*)$/.exec(line) ?? [];
    return controllers === undefined || path === undefined ? [] : [[controllers, path] as const];
  });
  return Object.fromEntries(lines);
}

function cgroupMounts(): { readonly controllers: string; readonly root: string; readonly at: string }[] {
  return readFileSync("/proc/self/mountinfo", "utf8")
    .split("\n")
    .flatMap((line) => {
      const [, root = "", at = "", type, options = ""] =
        /^\d+ \d+ \S+ (\S+) (\S+) .* - (cgroup2?) \S+ (\S+)$/.exec(line) ?? [];
      if (type === undefined) return [];
      const flags = new Set(["rw", "ro", "xattr", "noprefix", "clone_children"]);
      const names = options.split(",").filter((each) => !flags.has(each) && !each.startsWith("release_agent="));
      return [{ controllers: type === "cgroup2" ? "" : names.join(","), root, at }];
    });
}

function write(file: string, text: string): void {
  try {
    // "/autogroup-12 nice 0"
    const now = readFileSync(file, "utf8").trim().split(" ").at(-1);
    if (now !== text) writeFileSync(file, text);
  } catch {
    // The kernel has no such file, or refuses.
  }
}
