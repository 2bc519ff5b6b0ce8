// How much memory the second process needs, and how much there is: on the host and in the VM's cgroup.

import { readdirSync, readFileSync } from "node:fs";

/** Bytes. */
export interface HostMemory {
  /** What the VM's process has for itself alone: guest RAM that CPR carries is shared and not counted twice. */
  readonly needed: number;
  /** In addition, when guest RAM is copied: what the VM has of shared memory files now. */
  readonly copied: number;
  /** Huge pages that the VM has, and those that are free. */
  readonly hugePages: { readonly used: number; readonly free: number };
  /** What the host can give without swapping. */
  readonly available: number;
  /** What the tightest cgroup leaves; undefined without a limit. */
  readonly cgroup: { readonly path: string; readonly left: number; readonly limit: number } | undefined;
}

/** From /proc/PID/status, /proc/meminfo and the cgroup files, version 1 and 2; what can't be read sets no limit. */
export function readHostMemory(pid: number): HostMemory {
  const kib = (text: string, name: string) => Number(new RegExp(`^${name}:\\s+(\\d+) kB`, "m").exec(text)?.[1]) * 1024;
  const status = text(`/proc/${pid}/status`);
  return {
    needed: kib(status, "RssAnon") || 0,
    copied: kib(status, "RssShmem") || 0,
    hugePages: { used: kib(status, "HugetlbPages") || 0, free: freeHugePages() },
    available: kib(text("/proc/meminfo"), "MemAvailable") || Number.POSITIVE_INFINITY,
    cgroup: tightest(text(`/proc/${pid}/cgroup`)),
  };
}

/** Of all sizes, in bytes; those that somebody has reserved are not free. */
function freeHugePages(): number {
  return folders("/sys/kernel/mm/hugepages").reduce((sum, name) => {
    const folder = `/sys/kernel/mm/hugepages/${name}`;
    const pages = (number(`${folder}/free_hugepages`) ?? 0) - (number(`${folder}/resv_hugepages`) ?? 0);
    return sum + pages * 1024 * Number(/^hugepages-(\d+)kB$/.exec(name)?.[1] ?? 0);
  }, 0);
}

function folders(path: string): string[] {
  try {
    return readdirSync(path);
  } catch {
    return [];
  }
}

function tightest(table: string): HostMemory["cgroup"] {
  const v2 = /^0::(.*)$/m.exec(table)?.[1];
  const v1 = /^\d+:(?:[^:]*,)?memory(?:,[^:]*)?:(.*)$/m.exec(table)?.[1];
  const levels = [
    ...above(v2).flatMap((path) => ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"].map((root) => `${root}${path}`)),
    ...above(v1).map((path) => `/sys/fs/cgroup/memory${path}`),
  ].flatMap((path) => level(path) ?? []);
  return levels.toSorted((a, b) => a.left - b.left)[0];
}

/** "/a/b", "/a" and "" for "/a/b": each level has its own limit. */
function above(path: string | undefined): string[] {
  if (path === undefined) return [];
  const names = path.split("/").filter((name) => name !== "");
  return names.map((_, index) => `/${names.slice(0, names.length - index).join("/")}`).concat("");
}

function level(path: string): HostMemory["cgroup"] {
  const limit = number(`${path}/memory.max`) ?? number(`${path}/memory.limit_in_bytes`);
  const used = number(`${path}/memory.current`) ?? number(`${path}/memory.usage_in_bytes`);
  // Version 1 writes "no limit" as a number near 2^63.
  if (limit === undefined || used === undefined || limit > 2 ** 60) return undefined;
  // The page cache goes when memory is needed.
  const cache = Number(/^(?:total_)?inactive_file (\d+)$/m.exec(text(`${path}/memory.stat`))?.[1] ?? 0);
  return { path, left: Math.max(0, limit - used + cache), limit };
}

function number(path: string): number | undefined {
  const value = text(path).trim();
  return /^\d+$/.test(value) ? Number(value) : undefined;
}

function text(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return "";
  }
}
