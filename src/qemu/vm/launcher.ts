// The words before the new QEMU's command that give it the running one's limits and cgroup.

import { accessSync, constants, readFileSync } from "node:fs";
import { join } from "node:path";
import type { VmProcess } from "./process.ts";

/** How the new QEMU is started. */
export interface Launcher {
  /** Words before the program. */
  readonly words: readonly string[];
  /** The running QEMU's cgroup, if cprkit may not put a process into it: the new one would stay in cprkit's own. */
  readonly closedCgroup: string | undefined;
}

/** The launcher for a successor of `running`. Nothing is started. */
export function launcherFor(running: VmProcess): Launcher {
  const value = (limit: number) => (Number.isFinite(limit) ? String(limit) : "unlimited");
  // Every limit: what this process has is not what QEMU has (Node raises its own number of open files).
  const limits = [...running.limits].flatMap(([name, { soft, hard }]) => {
    const option = limitOptions[name];
    return option === undefined ? [] : [`--${option}=${value(soft)}:${value(hard)}`];
  });
  const words = ["prlimit", ...limits, "--"];
  const own = /^0::(.*)$/m.exec(readFileSync("/proc/self/cgroup", "utf8"))?.[1];
  if (running.cgroup === undefined || running.cgroup === own) return { words, closedCgroup: undefined };
  const file = join("/sys/fs/cgroup", running.cgroup, "cgroup.procs");
  if (!isWritable(file)) return { words, closedCgroup: running.cgroup };
  return { words: ["/bin/sh", "-c", 'echo $$ > "$0" && exec "$@"', file, ...words], closedCgroup: undefined };
}

function isWritable(path: string): boolean {
  try {
    accessSync(path, constants.W_OK);
    return true;
  } catch {
    return false;
  }
}

/** prlimit(1)'s names of the kernel's limits. */
const limitOptions: Readonly<Record<string, string>> = {
  "Max cpu time": "cpu",
  "Max file size": "fsize",
  "Max data size": "data",
  "Max stack size": "stack",
  "Max core file size": "core",
  "Max resident set": "rss",
  "Max processes": "nproc",
  "Max open files": "nofile",
  "Max locked memory": "memlock",
  "Max address space": "as",
  "Max file locks": "locks",
  "Max pending signals": "sigpending",
  "Max msgqueue size": "msgqueue",
  "Max nice priority": "nice",
  "Max realtime priority": "rtprio",
  "Max realtime timeout": "rttime",
};
