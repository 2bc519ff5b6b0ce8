// What /proc says of processes and their fds, and kcmp(2).

import { type BigIntStats, readdirSync, readFileSync, readlinkSync, statSync } from "node:fs";
import { CprkitError } from "../../vmstate/error.ts";
import { asFd } from "../as-fd.ts";
import { isOpen } from "../fd.ts";
import { libc } from "../ffi/koffi.ts";

/** A process: its number, or "self". */
export type ProcessRef = number | "self";

/** The numbers of all processes that /proc shows, ascending. */
export function processIds(): number[] {
  return readdirSync("/proc")
    .flatMap((name) => (/^\d+$/.test(name) ? [Number(name)] : []))
    .toSorted((a, b) => a - b);
}

/** The numbers of all open fds of a process, ascending. @throws CprkitError ERR_SYSCALL (no such process, not ours) */
export function listFds(pid: ProcessRef = "self"): number[] {
  const fds = read(`${processPath(pid)}/fd`, (path) => readdirSync(path)).map(Number);
  // Reading the folder of our own process takes an fd, which it lists and which is closed by now.
  const open = pid === "self" || pid === process.pid ? fds.filter(isOpen) : fds;
  return open.sort((a, b) => a - b);
}

/**
 * The link of /proc/PID/fd/N, such as "/memfd:pc.ram (deleted)", "anon_inode:[eventfd]" or "socket:[123]".
 *
 * @throws CprkitError ERR_SYSCALL when the process or the fd does not exist or may not be inspected.
 */
export function readFdLink(pid: ProcessRef, fd: number): string {
  return readProcessLink(pid, `fd/${asFd(fd)}`);
}

/**
 * What an fd is, for people: its link without the kernel's additions, such as "memfd:pc.ram" or "/dev/vfio/12".
 *
 * @throws CprkitError as {@link readFdLink}
 */
export function describeFd(fd: number, pid: ProcessRef = "self"): string {
  const link = readFdLink(pid, fd);
  return link.startsWith("/memfd:") ? link.slice(1).replace(/ \(deleted\)$/, "") : link;
}

/** What /proc/PID/fdinfo/N says of an fd (proc_pid_fdinfo(5)). */
export interface FdInfo {
  /** File offset in bytes. */
  readonly position: bigint;
  /** The open(2) flags, O_CLOEXEC among them. */
  readonly flags: number;
  /** O_CLOEXEC: execve closes this fd. */
  readonly closeOnExec: boolean;
  /** O_NONBLOCK: reads and writes return EAGAIN instead of waiting, through every duplicate of this fd. */
  readonly nonblocking: boolean;
  /** The counter of an eventfd; absent for anything else. */
  readonly eventfdCount?: bigint;
  /** Every line of the file by its name, as the kernel wrote it: "ino", "mnt_id", "eventfd-id", "Pid" … */
  readonly fields: ReadonlyMap<string, string>;
}

/**
 * Reads /proc/PID/fdinfo/N.
 *
 * @throws CprkitError ERR_SYSCALL when the process or the fd does not exist or may not be inspected, ERR_FD_INVALID for
 * what is not the number of an fd.
 */
export function readFdInfo(pid: ProcessRef, fd: number): FdInfo {
  const text = readProcessFile(pid, `fdinfo/${asFd(fd)}`);
  const fields = new Map<string, string>();
  for (const line of text.split("\n")) {
    const [, name, value] = /^([^:]+):\s*(.*)$/.exec(line) ?? [];
    if (name !== undefined && value !== undefined && !fields.has(name)) fields.set(name, value);
  }
  const flags = Number.parseInt(fields.get("flags") ?? "0", 8);
  const count = fields.get("eventfd-count");
  return {
    position: BigInt(fields.get("pos") ?? "0"),
    flags,
    closeOnExec: (flags & oCloexec) !== 0,
    nonblocking: (flags & oNonblock) !== 0,
    ...(count === undefined ? {} : { eventfdCount: BigInt(`0x${count.trim()}`) }),
    fields,
  };
}

const oNonblock = 0o4000;
const oCloexec = 0o2000000;

/** What distinguishes a process from a later one with the same pid. */
export interface ProcessIdentity {
  /** Its process id, in this process's pid namespace. */
  readonly pid: number;
  /** Clock ticks from the machine's start to the process's (field 22 of /proc/PID/stat). */
  readonly startTime: bigint;
}

/**
 * Identifies the process that has this pid now, to distinguish it from all later ones.
 *
 * @throws CprkitError ERR_SYSCALL with ENOENT when there is no such process.
 */
export function processIdentity(pid: ProcessRef = "self"): ProcessIdentity {
  const { startTime } = readStat(pid);
  return { pid: pid === "self" ? process.pid : pid, startTime };
}

/** True while the process that was identified exists, also as a zombie. */
export function isSameProcess(identity: ProcessIdentity): boolean {
  return sameProcess(identity) !== undefined;
}

/** True while the process that was identified runs: a zombie, which only waits for its parent, does not. */
export function isRunning(identity: ProcessIdentity): boolean {
  const state = sameProcess(identity)?.state;
  return state !== undefined && state !== "Z" && state !== "X";
}

function sameProcess(identity: ProcessIdentity): ProcessStat | undefined {
  try {
    const stat = readStat(identity.pid);
    return stat.startTime === identity.startTime ? stat : undefined;
  } catch (error) {
    if (error instanceof CprkitError && (error.errno === "ENOENT" || error.errno === "ESRCH")) return undefined;
    throw error;
  }
}

interface ProcessStat {
  /** A letter: R, S, D, Z … (field 3 of /proc/PID/stat). */
  readonly state: string;
  readonly startTime: bigint;
}

function readStat(pid: ProcessRef): ProcessStat {
  const stat = readProcessFile(pid, "stat");
  // The second field is the program's name in parentheses, which may itself hold blanks, parentheses and line feeds.
  const afterName = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  const [state = ""] = afterName;
  const startTime = afterName[22 - 3];
  if (startTime === undefined || !/^\d+$/.test(startTime)) {
    const path = `${processPath(pid)}/stat`;
    throw new CprkitError(
      "ERR_SYSCALL",
      `${path}: expected the start time in field 22, found ${startTime ?? "nothing"}`,
    );
  }
  return { state, startTime: BigInt(startTime) };
}

/** The text of /proc/PID/NAME. @throws CprkitError ERR_SYSCALL (no such process, not ours) */
export function readProcessFile(pid: ProcessRef, name: string): string {
  return read(`${processPath(pid)}/${name}`, (path) => readFileSync(path, "utf8"));
}

/** Where the link /proc/PID/NAME leads, such as "exe" or "cwd". @throws CprkitError as {@link readProcessFile} */
export function readProcessLink(pid: ProcessRef, name: string): string {
  return read(`${processPath(pid)}/${name}`, (path) => readlinkSync(path));
}

/** An fd of this process, or of another one. */
export type FdRef = number | { readonly pid: number; readonly fd: number };

/**
 * Whether two fds are the same open file: "same" and "different" are certain, from kcmp(2). Where the kernel has no
 * kcmp or does not allow it, device and inode are compared: "different" is certain then too, and "same-inode" means
 * the same file, perhaps opened twice; for an anonymous inode, as an eventfd's, it means nothing.
 *
 * @throws CprkitError ERR_FD_INVALID when one of them is not open.
 */
export function compareOpenFiles(a: FdRef, b: FdRef): "same" | "different" | "same-inode" {
  const [fileA, fileB] = [resolveFd(a), resolveFd(b)];
  const order = libc().kcmpFile(fileA.pid, fileB.pid, fileA.fd, fileB.fd);
  if (order >= 0) return order === 0 ? "same" : "different";
  const [statA, statB] = [statFd(fileA), statFd(fileB)];
  return statA.dev === statB.dev && statA.ino === statB.ino ? "same-inode" : "different";
}

function resolveFd(ref: FdRef): { pid: number; fd: number } {
  return typeof ref === "number" ? { pid: process.pid, fd: asFd(ref) } : { pid: ref.pid, fd: asFd(ref.fd) };
}

function statFd({ pid, fd }: { pid: number; fd: number }): BigIntStats {
  try {
    return statSync(`${processPath(pid)}/fd/${fd}`, { bigint: true });
  } catch (cause) {
    throw new CprkitError("ERR_FD_INVALID", `fd ${fd} of process ${pid} is not open or may not be inspected`, {
      cause,
    });
  }
}

function processPath(pid: ProcessRef): string {
  if (pid === "self" || (Number.isInteger(pid) && pid > 0)) return `/proc/${pid}`;
  throw new CprkitError("ERR_VALUE", `pid: expected a positive integer or "self", found ${pid}`);
}

function read<T>(path: string, how: (path: string) => T): T {
  try {
    return how(path);
  } catch (cause) {
    const code = cause instanceof Error && "code" in cause && typeof cause.code === "string" ? cause.code : undefined;
    const why =
      code === "ENOENT" || code === "ESRCH"
        ? "there is no such process or fd (any more)"
        : code === "EACCES" || code === "EPERM"
          ? "not allowed; run as the process's own user, or as root"
          : String(cause);
    throw new CprkitError("ERR_SYSCALL", `${path}: ${why}`, { errno: code, cause });
  }
}
