// A running QEMU as /proc shows it, and its QMP monitor.

import { realpathSync } from "node:fs";
import { resolve } from "node:path";
import { cprExecVariable } from "../../channel/index.ts";
import { type ProcessIdentity, processIdentity, type WaitOptions } from "../../linux/index.ts";
import { readProcessFile, readProcessLink } from "../../linux/process/proc.ts";
import { CprkitError, isCprkitError } from "../../vmstate/error.ts";
import { qmpSocketPaths } from "../command-line/monitors.ts";
import { parseOptions } from "../command-line/parse.ts";
import { connectQmp, type Qmp } from "../qmp/client.ts";

/** Soft and hard value of one line of /proc/PID/limits, in the kernel's unit; Infinity for "unlimited". */
interface ProcessLimit {
  readonly soft: number;
  readonly hard: number;
}

/** What a successor must be like, and what it was started with. */
export interface VmProcess {
  readonly identity: ProcessIdentity;
  /** The program file; `replaced` when the file has been deleted or replaced since (an upgraded package). */
  readonly program: string;
  readonly replaced: boolean;
  /** The whole command line, from argv[0] on. */
  readonly argv: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  /** Where relative paths start: the folder, or for a daemon the one that it was started in. */
  readonly cwd: string;
  /** Path below the mount of the cgroup v2 tree, such as "/machine.slice/vm1.scope"; undefined without one. */
  readonly cgroup: string | undefined;
  /** By the kernel's names, such as "Max open files". */
  readonly limits: ReadonlyMap<string, ProcessLimit>;
  /** Effective. */
  readonly uid: number;
  readonly gid: number;
}

/** @throws CprkitError ERR_SYSCALL when there is no such process or it may not be looked at. */
export function readVmProcess(pid: number): VmProcess {
  const identity = processIdentity(pid);
  const link = readProcessLink(pid, "exe");
  const argv = words(readProcessFile(pid, "cmdline"));
  const env = Object.fromEntries(
    words(readProcessFile(pid, "environ")).flatMap((entry) => {
      const equals = entry.indexOf("=");
      const name = entry.slice(0, equals);
      // What a QEMU that came by cpr-exec was given; it has removed it, but the kernel still shows it.
      return equals < 1 || name === cprExecVariable ? [] : [[name, entry.slice(equals + 1)]];
    }),
  );
  const status = readProcessFile(pid, "status");
  const effective = (name: string) => Number(new RegExp(`^${name}:\\s+\\d+\\s+(\\d+)`, "m").exec(status)?.[1]);
  const daemon = parseOptions(argv.slice(1)).some(({ name }) => name === "daemonize");
  // A daemon has gone to "/" after it opened its files.
  const startedIn = daemon ? env["PWD"] : undefined;
  return {
    identity,
    program: link.replace(/ \(deleted\)$/, ""),
    replaced: link.endsWith(" (deleted)"),
    argv,
    env,
    cwd: startedIn ?? readProcessLink(pid, "cwd"),
    cgroup: /^0::(.*)$/m.exec(readProcessFile(pid, "cgroup"))?.[1],
    limits: readLimits(pid),
    uid: effective("Uid"),
    gid: effective("Gid"),
  };
}

/** /proc/PID/limits. */
function readLimits(pid: number): ReadonlyMap<string, ProcessLimit> {
  const limits = new Map<string, ProcessLimit>();
  const number = (text: string) => (text === "unlimited" ? Number.POSITIVE_INFINITY : Number(text));
  for (const line of readProcessFile(pid, "limits").split("\n").slice(1)) {
    const [, name, soft, hard] = /^(.+?)\s{2,}(\S+)\s+(\S+)/.exec(line) ?? [];
    if (name !== undefined && soft !== undefined && hard !== undefined) {
      limits.set(name, { soft: number(soft), hard: number(hard) });
    }
  }
  return limits;
}

/** Which VM is meant: by the path of a QMP socket, or by the process. With both, the process must serve that socket. */
export interface VmTarget {
  readonly qmp?: string | undefined;
  readonly pid?: number | undefined;
}

/** A running VM with an open monitor. */
export interface OpenVm {
  readonly process: VmProcess;
  readonly qmp: Qmp;
  /** Absolute path of the socket that `qmp` is connected to, as QEMU made it. */
  readonly qmpPath: string;
}

/**
 * Finds the process and connects to its monitor: the socket that was named, else the first on its command line that
 * nobody else holds.
 *
 * @throws CprkitError ERR_USAGE without a target; ERR_UPDATE_REFUSED when the process serves no QMP on a UNIX socket;
 * as `connectQmp` when no monitor can be had.
 */
export async function openVm(target: VmTarget, options: WaitOptions = {}): Promise<OpenVm> {
  if (target.qmp !== undefined) {
    const qmpPath = realPath(target.qmp);
    const qmp = await connectQmp(qmpPath, options);
    const { pid } = qmp.peer;
    if (target.pid !== undefined && target.pid !== pid) {
      await qmp.close();
      const text = `${target.qmp} is served by process ${pid}, not by ${target.pid}`;
      throw new CprkitError("ERR_USAGE", `${text}: give one of --qmp and --pid, or the right ones`);
    }
    try {
      return { process: readVmProcess(pid), qmp, qmpPath };
    } catch (error) {
      await qmp.close();
      throw error;
    }
  }
  if (target.pid === undefined) {
    throw new CprkitError("ERR_USAGE", "no VM named: give the path of its QMP socket, or its process id");
  }
  const vm = readVmProcess(target.pid);
  const paths = qmpSocketPaths(parseOptions(vm.argv.slice(1)), vm.cwd);
  if (paths.length === 0) {
    throw new CprkitError(
      "ERR_UPDATE_REFUSED",
      `process ${target.pid} has no QMP monitor on a UNIX socket on its command line; cprkit needs one of its own: ` +
        "start QEMU with -qmp unix:PATH,server=on,wait=off (or add a monitor with chardev-add at run time, then --qmp)",
    );
  }
  let failure: unknown;
  for (const qmpPath of paths) {
    try {
      const qmp = await connectQmp(qmpPath, options);
      if (qmp.peer.pid === target.pid) return { process: vm, qmp, qmpPath };
      await qmp.close();
      failure = new CprkitError("ERR_QMP", `${qmpPath} is served by process ${qmp.peer.pid}, not by ${target.pid}`);
    } catch (error) {
      if (!isCprkitError(error) || error.code === "ERR_ABORTED") throw error;
      failure = error;
    }
  }
  throw failure;
}

/** Follows the links that an earlier update left; what is not there is left to the connection to complain about. */
export function realPath(path: string): string {
  try {
    return realpathSync(path);
  } catch {
    return resolve(path);
  }
}

function words(text: string): string[] {
  const parts = text.split("\0");
  if (parts.at(-1) === "") parts.pop();
  return parts;
}
