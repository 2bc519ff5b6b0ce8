// The process of a machine: what its successor must be given, because QEMU itself does not set it. Neither its command
// line nor its environment: both may hold passwords.

import { resolve } from "node:path";
import { readProcessFile } from "../../linux/process/proc.ts";
import { readScheduling } from "../../linux/process/scheduling.ts";
import { statFile } from "../../linux/process/stat-file.ts";
import { isCprkitError } from "../../vmstate/error.ts";
import { cgroupsOf } from "../attributes/threads.ts";
import { readSockets, socketInode } from "../fds/sockets.ts";
import { namespacesOf } from "../namespaces/kinds.ts";
import type { VmProcess } from "../vm/process.ts";
import type { Machine } from "./schema.ts";

type Process = Machine["process"];

/** A thread that every start of the machine has. */
export interface KnownThread {
  readonly role: string;
  readonly id: number;
}

/** @throws CprkitError ERR_SYSCALL when the process is gone or may not be looked at */
export function readProcess(
  vm: VmProcess,
  links: ReadonlyMap<number, string>,
  threads: readonly KnownThread[],
): Process {
  const { identity, program, credentials, cgroup, limits, cwd } = vm;
  const { pid } = identity;
  const { uid, gid, groups, umask, inheritable, permitted, bounding, ambient, noNewPrivs, filters, label } =
    credentials;
  const own = [...links.values()].flatMap((link) => socketInode(link) ?? []);
  const sockets = readSockets(pid, own);
  const listening = [...new Set(own)].flatMap((inode) => {
    const { kind, family, at } = sockets.get(inode) ?? {};
    return kind === "listening" && at !== undefined ? [{ family, at }] : [];
  });
  const of = (wanted: string) => listening.flatMap(({ family, at }) => (family === wanted ? [at] : [])).sort();
  return {
    pid,
    program,
    uid,
    gid,
    groups: [...groups],
    capabilities: {
      inheritable: inheritable.toString(16),
      permitted: permitted.toString(16),
      bounding: bounding.toString(16),
      ambient: ambient.toString(16),
    },
    noNewPrivs,
    seccompFilters: filters,
    label,
    umask: octal(umask),
    namespaces: namespacesOf(pid),
    cgroup,
    oomScoreAdj: Number(readProcessFile(pid, "oom_score_adj")),
    limits: Object.fromEntries(
      [...limits].map(([name, { soft, hard }]) => [name, { soft: limitOf(soft), hard: limitOf(hard) }]),
    ),
    autogroupNice: autogroupNice(pid),
    threads: [{ role: "main", id: pid }, ...threads].flatMap((thread) => readThread(pid, thread)),
    sockets: of("unix").map((path) => socketFile(pid, cwd, path)),
    tcp: of("tcp"),
  };
}

function limitOf(value: number): number | "unlimited" {
  return value === Number.POSITIVE_INFINITY ? "unlimited" : value;
}

function readThread(pid: number, { role, id }: KnownThread): Process["threads"] {
  try {
    const cgroups = cgroupsOf(readProcessFile(pid, `task/${id}/cgroup`));
    return [{ role, ...readScheduling(pid, id), cgroups }];
  } catch (error) {
    // Unplugged meanwhile.
    if (isCprkitError(error)) return [];
    throw error;
  }
}

/** "/autogroup-12 nice 0". Empty is a process in the kernel's own group, as nobody has begun a session: no nice. */
function autogroupNice(pid: number): number | undefined {
  try {
    return Number(/ nice (-?\d+)$/m.exec(readProcessFile(pid, "autogroup"))?.[1] ?? 0);
  } catch {
    // A kernel without them.
    return undefined;
  }
}

function socketFile(pid: number, cwd: string, path: string): Process["sockets"][number] {
  if (path.startsWith("@")) return { path };
  const stat = statFile(`/proc/${pid}/root${resolve(cwd, path)}`);
  if (stat === undefined) return { path };
  return { path, mode: octal(Number(stat.mode & 0o7777n)), uid: Number(stat.uid), gid: Number(stat.gid) };
}

function octal(mode: number): string {
  return mode.toString(8).padStart(4, "0");
}
