// In which namespaces a running QEMU lives that are not cprkit's (namespaces(7)), and how a successor gets there.

import { accessSync, constants } from "node:fs";
import { type ProcessRef, readProcessFile, readProcessLink } from "../../linux/process/proc.ts";
import { type Credentials, hasCapability } from "../vm/credentials.ts";

/** Names of /proc/PID/ns. */
export const namespaceKinds = ["cgroup", "ipc", "mnt", "net", "pid", "time", "user", "uts"] as const;

export type NamespaceKind = (typeof namespaceKinds)[number];

/** The namespaces of a process, such as "net:[4026531840]". @throws CprkitError ERR_SYSCALL */
export function namespacesOf(pid: ProcessRef): Readonly<Record<NamespaceKind, string>> {
  return Object.fromEntries(namespaceKinds.map((kind) => [kind, linkOf(pid, kind)])) as Record<NamespaceKind, string>;
}

/** Those in which process `pid` is and we are not. @throws CprkitError ERR_SYSCALL */
export function otherNamespaces(pid: number): readonly NamespaceKind[] {
  const [own, theirs] = [namespacesOf("self"), namespacesOf(pid)];
  return namespaceKinds.filter((kind) => own[kind] !== theirs[kind]);
}

/** "" for a kind that the kernel does not have. */
function linkOf(pid: ProcessRef, kind: NamespaceKind): string {
  try {
    return readProcessLink(pid, `ns/${kind}`);
  } catch (error) {
    // Of a process that is not ours nothing can be read.
    if (kind === "mnt") throw error;
    return "";
  }
}

/** nsenter(1)'s options. Not the mount namespace, whose programs are another user's choice, nor that of pids. */
const nsenterOptions: Readonly<Partial<Record<NamespaceKind, string>>> = {
  cgroup: "--cgroup",
  ipc: "--ipc",
  net: "--net",
  time: "--time",
  uts: "--uts",
};

/** Words that move the program after them into the namespaces of process `pid`: its programs are those of this system. */
export function nsenterWords(pid: number, kinds: readonly NamespaceKind[]): readonly string[] {
  const options = kinds.flatMap((kind) => {
    const option = nsenterOptions[kind];
    return option === undefined ? [] : [`${option}=/proc/${pid}/ns/${kind}`];
  });
  // Without a fork, which a time namespace would get: the new QEMU is to be our child.
  return options.length === 0 ? [] : ["nsenter", ...options, "--no-fork", "--"];
}

const capSysChroot = 18n;
const capSysAdmin = 21n;

/** Why a process with the rights of `own` can't start another one in these namespaces of process `pid`, in words. */
export function notEnterable(
  pid: number,
  kinds: readonly NamespaceKind[],
  own: Credentials,
  label: string | undefined,
): string[] {
  // A user namespace is a matter of rights.
  const entered = kinds.filter((kind) => kind !== "user");
  if (entered.length === 0) return [];
  const can = (capability: bigint) => hasCapability(own.effective, capability);
  const isMount = entered.includes("mnt");
  return [
    ...(can(capSysAdmin) && (!isMount || can(capSysChroot))
      ? []
      : [`it is in another namespace (${entered.map(nameOf).join(", ")}), which only root may enter`]),
    ...(isMount && own.label !== label ? ["it has another security label, in another mount namespace"] : []),
    ...(nsenterWords(pid, entered).length > 0 && !hasNsenter() ? ["nsenter(1) of util-linux is not there"] : []),
  ];
}

function nameOf(kind: NamespaceKind): string {
  return kind === "mnt" ? "mount" : kind === "net" ? "network" : kind;
}

/** The pid that a process has in its own pid namespace. */
export function ownPid(pid: number): number {
  const numbers = /^NSpid:\s*(.*)$/m.exec(readProcessFile(pid, "status"))?.[1]?.split(/\s+/) ?? [];
  return Number(numbers.at(-1) ?? pid);
}

function hasNsenter(): boolean {
  return ["/usr/bin/nsenter", "/bin/nsenter"].some((path) => {
    try {
      accessSync(path, constants.X_OK);
      return true;
    } catch {
      return false;
    }
  });
}
