// What the kernel gives: its calls are made, not looked up in a table of versions.

import { execFile, spawnSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { arch, release } from "node:os";
import { promisify } from "node:util";
import {
  closeFd,
  createEventfd,
  createMemfd,
  getFdOf,
  getNofileLimit,
  openPidfd,
  processIdentity,
  signalPidfd,
} from "../../linux/index.ts";
import { isCprkitError } from "../../vmstate/error.ts";
import { tryCalls } from "../preflight/kernel-calls.ts";
import { hasCapability, readCredentials } from "../vm/credentials.ts";
import { fine, type HostFact, hinders, note } from "./fact.ts";

/** System calls that every update makes. */
export async function kernelFacts(): Promise<HostFact[]> {
  const of = `Linux ${release()}, ${arch()}`;
  const refused = [
    ...(await tryCalls()),
    ...refusalOf(() => closeFd(createMemfd("cprkit-doctor"))),
    ...refusalOf(() => closeFd(createEventfd())),
  ];
  if (refused.length === 0) return [fine("kernel", `${of}: all system calls of an update are allowed`)];
  const remedy = "use Linux 5.6 or later, and allow them in the seccomp filter of the unit or container";
  return [hinders("kernel", `${of} refuses what an update needs: ${refused.join("; ")}`, remedy)];
}

/**
 * Taking fds of a running QEMU, which is not our child: tried on a process that is not ours either, but of the same user.
 * Yama (kernel.yama.ptrace_scope) may allow it for children only.
 */
export async function takingFdsFact(): Promise<HostFact> {
  const scope = textOf("/proc/sys/kernel/yama/ptrace_scope");
  const yama = scope === undefined ? "no Yama here" : `kernel.yama.ptrace_scope is ${scope}`;
  const stranger = await startStranger();
  if (stranger === undefined) return note("taking-fds", `${yama}; no process could be started to try it on`);
  const { pidfd } = stranger;
  try {
    closeFd(getFdOf(pidfd, 0));
    return fine("taking-fds", `fds of a running QEMU can be taken; ${yama}`);
  } catch (error) {
    if (!isCprkitError(error)) throw error;
    const text = `fds of a running QEMU can't be taken, so tap interfaces and listening sockets can't be handed over (${yama}): ${error.reason}`;
    return hinders("taking-fds", text, "run cprkit as root, or set kernel.yama.ptrace_scope to 0; allow pidfd_getfd");
  } finally {
    signalPidfd(pidfd, "SIGKILL");
    closeFd(pidfd);
  }
}

/** A process whose parent has ended: its new parent is another one. Whatever becomes of us, it ends soon. */
async function startStranger(): Promise<{ readonly pidfd: number } | undefined> {
  const script = "sleep 20 </dev/null >/dev/null 2>&1 & echo $!";
  try {
    const { stdout } = await promisify(execFile)("/bin/sh", ["-c", script], { timeout: 5_000 });
    return { pidfd: openPidfd(processIdentity(Number(stdout.trim()))) };
  } catch {
    return undefined;
  }
}

/** What this process may have, and what it may give to a new QEMU. */
export function limitFacts(vms: readonly { readonly pid: number; readonly fds: number }[]): HostFact[] {
  const { soft } = getNofileLimit();
  const most = Math.max(0, ...vms.map(({ fds }) => fds));
  const needed = Math.max(most, leastFds) + spareFds;
  const raise = "raise it where cprkit is started: ulimit -n N, or LimitNOFILE= in its unit";
  const nofile =
    soft < needed
      ? hinders("nofile", `RLIMIT_NOFILE is ${soft}: an update here needs up to ${needed} fds at once`, raise)
      : fine("nofile", `RLIMIT_NOFILE is ${Number.isFinite(soft) ? soft : "unlimited"}`);
  return [nofile, memlockFact()];
}

/** A small VM has some ten fds that are carried, and cprkit as many of its own. */
const leastFds = 64;
const spareFds = 16;

/** The new QEMU gets the limits of the old one, which only root may raise above its own. */
function memlockFact(): HostFact {
  const own = limitOf("Max locked memory");
  const mayRaise = hasCapability(readCredentials("self").effective, capSysResource);
  if (own === undefined || own === "unlimited" || mayRaise) {
    return fine("memlock", `RLIMIT_MEMLOCK is ${own ?? "not told"}${mayRaise ? "; this user may raise it" : ""}`);
  }
  const text = `RLIMIT_MEMLOCK is ${own} bytes at most: a VM with VFIO devices or locked memory has more, which its new QEMU can't be given`;
  return note("memlock", text, "run cprkit as root, or raise the hard limit (LimitMEMLOCK=, limits.conf)");
}

const capSysResource = 24n;

function limitOf(name: string): string | undefined {
  const line = textOf("/proc/self/limits")
    ?.split("\n")
    .find((each) => each.startsWith(name));
  return line?.slice(name.length).trim().split(/\s+/)[1];
}

/** QEMUs in containers have namespaces of their own, which only root may enter. */
export function namespaceFact(): HostFact {
  const isWhole = /^\s*0\s+0\s+4294967295\s*$/.test(textOf("/proc/self/uid_map") ?? "");
  const isRoot = process.geteuid?.() === 0;
  if (isWhole && isRoot) return fine("namespaces", "VMs in containers can be reached: this is root of the host");
  const tried = spawnSync("unshare", ["--user", "true"], { stdio: "ignore", timeout: 5_000 });
  const may = tried.status === 0 ? "user namespaces can be made" : "user namespaces can't be made";
  if (!isWhole) {
    const text = `this is a user namespace of its own: VMs of users that are not in it can't be updated from here; ${may}`;
    return isRoot ? hinders("namespaces", text, "run cprkit on the host itself") : note("namespaces", text);
  }
  return note("namespaces", `VMs in containers, and of other users, can be reached by root alone; ${may}`);
}

/** Filters and labels that a new QEMU would inherit. */
export function confinementFact(): HostFact {
  const { filters, noNewPrivs, label } = readCredentials("self");
  const modules = textOf("/sys/kernel/security/lsm") ?? "";
  const selinux = { "0": "permissive", "1": "enforcing" }[textOf("/sys/fs/selinux/enforce") ?? ""];
  const apparmor = textOf("/sys/module/apparmor/parameters/enabled") === "Y";
  const what = [
    ...(selinux === undefined ? [] : [`SELinux is ${selinux}`]),
    ...(apparmor ? ["AppArmor is on"] : []),
    ...(selinux === undefined && !apparmor
      ? [`neither AppArmor nor SELinux${modules === "" ? "" : ` (${modules})`}`]
      : []),
  ].join(", ");
  const own = [
    ...(filters > 0 ? [`${filters} seccomp ${filters === 1 ? "filter" : "filters"}`] : []),
    ...(noNewPrivs ? ["no_new_privs"] : []),
    ...(label === undefined || /^(unconfined|kernel$|.*:unconfined_t(:|$))/.test(label) ? [] : [`the label ${label}`]),
  ];
  if (own.length === 0) return fine("confinement", `${what}; cprkit is not confined`);
  const text = `cprkit is confined (${own.join(", ")}; ${what}): a new QEMU would inherit it, so VMs that are not confined so can't be updated`;
  return hinders("confinement", text, "run cprkit outside of the unit, container or profile that confines it");
}

/** Where the new QEMU is put, and who ends it. */
export function cgroupFact(): HostFact {
  const own = /^0::(.*)$/m.exec(textOf("/proc/self/cgroup") ?? "")?.[1];
  const systemd = existsSync("/run/systemd/system");
  const service = systemd ? "systemd runs" : "no systemd";
  if (own === undefined || !existsSync("/sys/fs/cgroup/cgroup.controllers")) {
    const text = `cgroup v2 is not mounted at /sys/fs/cgroup; ${service}: a VM's limits can't be given to its new QEMU`;
    return systemd ? hinders("cgroup", text, "boot with systemd.unified_cgroup_hierarchy=1") : note("cgroup", text);
  }
  if (!systemd) return fine("cgroup", `cgroup v2, cprkit is in ${own}; ${service}`);
  const { status } = spawnSync("systemctl", ["show", "--property=Version"], { stdio: "ignore", timeout: 5_000 });
  if (status === 0) return fine("cgroup", `cgroup v2, cprkit is in ${own}; ${service} and answers`);
  const text = "systemd runs, but systemctl does not get an answer: whether a unit would end a new QEMU is not known";
  return hinders("cgroup", text, "run cprkit where systemd's bus can be reached");
}

/** What the node is that runs this. */
export function nodeFact(): HostFact {
  return fine("node", `Node ${process.versions.node}`);
}

function refusalOf(act: () => void): string[] {
  try {
    act();
    return [];
  } catch (error) {
    if (!isCprkitError(error)) throw error;
    return [error.reason];
  }
}

function textOf(path: string): string | undefined {
  try {
    return readFileSync(path, "utf8").trim();
  } catch {
    return undefined;
  }
}
