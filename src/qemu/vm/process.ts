// A running QEMU as /proc shows it.

import { resolve } from "node:path";
import { cprExecVariable } from "../../channel/index.ts";
import { type ProcessIdentity, processIdentity } from "../../linux/index.ts";
import { readProcessFile, readProcessLink } from "../../linux/process/proc.ts";
import { type ProgramFile, programFile } from "../../linux/process/program-file.ts";
import { isLoader, programWords } from "../command-line/program-words.ts";
import { type NamespaceKind, otherNamespaces } from "../namespaces/kinds.ts";
import { type Credentials, readCredentials } from "./credentials.ts";

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
  /** Started with -daemonize. */
  readonly isDaemon: boolean;
  /** Path below the mount of the cgroup v2 tree, such as "/machine.slice/vm1.scope"; undefined without one. */
  readonly cgroup: string | undefined;
  /** By the kernel's names, such as "Max open files". */
  readonly limits: ReadonlyMap<string, ProcessLimit>;
  readonly credentials: Credentials;
  /** The namespaces in which it is and this process is not. */
  readonly namespaces: readonly NamespaceKind[];
  /** "" if it has our mount namespace, else "/proc/PID/root": all its paths are meant below that. */
  readonly root: string;
}

/** @throws CprkitError ERR_SYSCALL when there is no such process or it may not be looked at. */
export function readVmProcess(pid: number): VmProcess {
  const identity = processIdentity(pid);
  const link = readProcessLink(pid, "exe");
  const argv = wordsOf(pid, "cmdline");
  const env = Object.fromEntries(
    wordsOf(pid, "environ").flatMap((entry) => {
      const equals = entry.indexOf("=");
      const name = entry.slice(0, equals);
      // What a QEMU that came by cpr-exec was given; it has removed it, but the kernel still shows it.
      return equals < 1 || name === cprExecVariable ? [] : [[name, entry.slice(equals + 1)]];
    }),
  );
  const isDaemon = argv.some((word) => /^--?daemonize$/.test(word));
  // A daemon has gone to "/" after it opened its files.
  const namespaces = otherNamespaces(pid);
  const startedIn = isDaemon ? env["PWD"] : undefined;
  return {
    identity,
    program: link.replace(/ \(deleted\)$/, ""),
    replaced: link.endsWith(" (deleted)"),
    argv,
    env,
    cwd: startedIn ?? readProcessLink(pid, "cwd"),
    isDaemon,
    cgroup: /^0::(.*)$/m.exec(readProcessFile(pid, "cgroup"))?.[1],
    limits: readLimits(pid),
    credentials: readCredentials(pid),
    namespaces,
    root: namespaces.includes("mnt") ? `/proc/${pid}/root` : "",
  };
}

/** The file of the program that a process runs: behind the dynamic loader that of QEMU. @throws CprkitError ERR_SYSCALL */
export function programOf(pid: number): ProgramFile {
  const program = readProcessLink(pid, "exe").replace(/ \(deleted\)$/, "");
  if (!isLoader(program)) return programFile(`/proc/${pid}/exe`);
  const name = programWords({ argv: wordsOf(pid, "cmdline"), program }).at(-1) ?? program;
  const path = resolve(readProcessLink(pid, "cwd"), name);
  return programFile(`/proc/${pid}/root${path}`);
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

/** What /proc keeps as words with a NUL behind each. @throws CprkitError as {@link readVmProcess} */
export function wordsOf(pid: number, file: "cmdline" | "environ"): string[] {
  const parts = readProcessFile(pid, file).split("\0");
  if (parts.at(-1) === "") parts.pop();
  return parts;
}
