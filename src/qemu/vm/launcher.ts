// Starts a program as a running QEMU was started: with its rights, and for a successor also its limits and cgroup.

import { type ChildProcess, spawn } from "node:child_process";
import { accessSync, closeSync, constants, readFileSync, writeSync } from "node:fs";
import { join } from "node:path";
import { createMemfd } from "../../linux/index.ts";
import { inPidNamespaceOf } from "../../linux/process/pid-namespace.ts";
import { statFile } from "../../linux/process/stat-file.ts";
import { shellQuoted } from "../command-line/parse.ts";
import { enterWords } from "../namespaces/enter.ts";
import { notEnterable, nsenterWords } from "../namespaces/kinds.ts";
import { outside } from "../namespaces/paths.ts";
import { type Credentials, hasSameRights, notGivable, readCredentials, setprivWords } from "./credentials.ts";
import { endedWithUs } from "./probe-mark.ts";
import type { VmProcess } from "./process.ts";

/** A program to be started by {@link spawnLike}. */
export interface Start {
  readonly program: string;
  readonly args: readonly string[];
  readonly cwd: string;
  readonly env: Readonly<Record<string, string | undefined>>;
  /** The child must inherit this fd as its number 9; `close` it once the child has been started. */
  readonly environment: number | undefined;
  /** Its arguments end with the numbers of the fds that it inherits. */
  readonly isToldFds: boolean;
  /** The child is born in the pid namespace of this process. */
  readonly pidNamespaceOf: number | undefined;
  close(): void;
}

/** What is started. */
export interface Wanted {
  readonly words: readonly string[];
  readonly env: Readonly<Record<string, string | undefined>>;
  /** Whether the kernel ends it when this process ends. Default false. */
  readonly endsWithUs?: boolean;
}

/** The fd by which a child with other rights than ours gets its environment. */
const environmentFd = 9;

/**
 * The command that starts a program with the rights of `running` and no more, in its folder and its namespaces. Its
 * environment, folder and library paths take effect only once it has those rights.
 */
export function startLike(running: VmProcess, wanted: Wanted, before: readonly string[] = []): Start {
  const own = readCredentials("self");
  const { credentials, cwd, namespaces, identity } = running;
  const pidNamespaceOf = namespaces.includes("pid") ? identity.pid : undefined;
  const chain = [...before, ...nsenterWords(identity.pid, namespaces)];
  if (namespaces.includes("mnt")) return { ...startInside(running, wanted, chain, own), pidNamespaceOf };
  const { env } = wanted;
  const words = wanted.endsWithUs === true ? endedWithUs(wanted.words) : wanted.words;
  const umask = umaskWords(own, credentials);
  if (hasSameRights(own, credentials)) {
    const [program = "", ...args] = [...chain, ...umask, ...words];
    const close = () => undefined;
    return { program, args, cwd, env, environment: undefined, isToldFds: false, pidNamespaceOf, close };
  }
  // A folder that its user can't go to any more it is in already; only the path of a daemon's is from its environment.
  const [folder, go] = running.isDaemon ? ["/", 'cd "$0" && '] : [`/proc/${identity.pid}/cwd`, ""];
  const script = `${go}. /proc/self/fd/${environmentFd} && exec ${environmentFd}<&- && exec "$@"`;
  const rights = [...umask, ...setprivWords(own, credentials)];
  const [program = "", ...args] = [...chain, ...rights, "/bin/sh", "-c", script, cwd, ...words];
  const environment = environmentFile(env);
  const close = () => closeSync(environment);
  return { program, args, cwd: folder, env: ownEnvironment(env), environment, isToldFds: false, pidNamespaceOf, close };
}

/** Why no program can be started like `running`, in words; empty if it can. */
export function notStartable(running: VmProcess): string[] {
  const own = readCredentials("self");
  const { identity, namespaces, credentials } = running;
  return [...notGivable(own, credentials), ...notEnterable(identity.pid, namespaces, own, credentials.label)];
}

/** All that is done after the mount namespace has been entered is done by a program that has been loaded before. */
function startInside(
  running: VmProcess,
  { words, env, endsWithUs = false }: Wanted,
  chain: readonly string[],
  own: Credentials,
): Omit<Start, "pidNamespaceOf"> {
  const { credentials, cwd, isDaemon, identity, limits } = running;
  const [name = "", ...rest] = words;
  const entering = {
    pid: identity.pid,
    own,
    wanted: credentials,
    words: [name.includes("/") ? name : (lookUp(running, name) ?? name), ...rest],
    env,
    folder: isDaemon ? cwd : undefined,
    nofile: limits.get("Max open files"),
    endsWithUs,
  };
  const { words: ours, job } = enterWords(entering, environmentFd);
  const [program = "", ...args] = [...chain, ...ours];
  const close = () => closeSync(job);
  return { program, args, cwd: "/", env: ownEnvironment(env), environment: job, isToldFds: true, close };
}

/** Of ours, with what cprkit itself writes into the new one's, to find the process again: there from its first moment. */
function ownEnvironment(env: Wanted["env"]): Wanted["env"] {
  const marks = Object.fromEntries(Object.entries(env).filter(([name]) => markNames.has(name)));
  return { ...marks, ...systemPath };
}

const systemPath = { PATH: "/usr/sbin:/usr/bin:/sbin:/bin" };

/** Where execvp(3) would find a program in the file systems of `running`, by our own PATH. */
function lookUp(running: VmProcess, name: string): string | undefined {
  const folders = (process.env["PATH"] ?? systemPath.PATH).split(":");
  return folders.map((folder) => `${folder}/${name}`).find((path) => statFile(outside(running, path)) !== undefined);
}

/** What cprkit itself writes into the environment, to find the process again: there from its first moment. */
const markNames = new Set(["CPRKIT_UPDATE", "CPRKIT_UPDATE_OF", "CPRKIT_PROBE"]);

type Stdio = "ignore" | "pipe" | number;

/** The number of the first fd that a child is given: behind the environment's, and where sh(1) uses none of its own. */
export const firstGivenFd = 10;

/** How {@link spawnLike} starts a child. */
export interface SpawnOptions {
  /** From its fd 0 on. */
  readonly stdio: readonly Stdio[];
  /** Fds that it inherits, at the numbers from {@link firstGivenFd} on. They stay the caller's. */
  readonly given?: readonly number[];
  /** In a session of its own. */
  readonly detached?: boolean;
}

/** Starts the child. @throws what spawn of node:child_process throws, CprkitError ERR_SYSCALL */
export function spawnLike(start: Start, { stdio, given = [], detached = false }: SpawnOptions): ChildProcess {
  const all = withEnvironment(stdio, start, given);
  const fds = all.flatMap((each, number) => (each === "ignore" && number > 2 ? [] : [number]));
  const told = start.isToldFds ? fds.filter((fd) => fd !== environmentFd).map(String) : [];
  const act = () =>
    spawn(start.program, [...start.args, ...told], { cwd: start.cwd, env: start.env, detached, stdio: all });
  return start.pidNamespaceOf === undefined ? act() : inPidNamespaceOf(start.pidNamespaceOf, act);
}

/** The stdio with the environment's fd at its place, and what is given. A number in between stays closed. */
function withEnvironment(stdio: readonly Stdio[], { environment }: Start, given: readonly number[]): Stdio[] {
  const all = [...stdio];
  const put = (at: number, fd: number) => {
    while (all.length < at) all.push("ignore");
    all[at] = fd;
  };
  if (environment !== undefined) put(environmentFd, environment);
  for (const [at, fd] of given.entries()) put(firstGivenFd + at, fd);
  return all;
}

function umaskWords(own: Credentials, { umask }: Credentials): readonly string[] {
  return own.umask === umask ? [] : ["/bin/sh", "-c", 'umask "$0" && exec "$@"', umask.toString(8).padStart(4, "0")];
}

/** As a file that sh(1) reads: in a command's words every user could see it. A name that is not one of sh's is left out. */
function environmentFile(env: Readonly<Record<string, string | undefined>>): number {
  const fd = createMemfd("environment");
  const lines = Object.entries(env).flatMap(([name, value]) =>
    value === undefined || !/^[A-Za-z_]\w*$/.test(name) ? [] : `export ${name}=${shellQuoted([value])}\n`,
  );
  const bytes = Buffer.from(`unset PATH\n${lines.join("")}`);
  for (let at = 0; at < bytes.length; ) at += writeSync(fd, bytes, at);
  return fd;
}

/** What a successor of a running QEMU needs in addition to its rights. */
export interface Launcher {
  /** Words before the program, for {@link startLike}. */
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
