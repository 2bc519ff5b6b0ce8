// Starts a program as a running QEMU was started: with its rights, and for a successor also its limits and cgroup.

import { accessSync, closeSync, constants, readFileSync, writeSync } from "node:fs";
import { join } from "node:path";
import { createMemfd } from "../../linux/index.ts";
import { shellQuoted } from "../command-line/parse.ts";
import { type Credentials, hasSameRights, readCredentials, setprivWords } from "./credentials.ts";
import type { VmProcess } from "./process.ts";

/** A command as spawn(2) of node:child_process takes it. */
export interface Start {
  readonly program: string;
  readonly args: readonly string[];
  readonly cwd: string;
  readonly env: Readonly<Record<string, string | undefined>>;
  /** The child must inherit this fd as its number 9 ({@link withEnvironment}); `close` it once the child has been started. */
  readonly environment: number | undefined;
  close(): void;
}

/** What is started. */
export interface Wanted {
  readonly words: readonly string[];
  readonly env: Readonly<Record<string, string | undefined>>;
}

/** The fd by which a child with other rights than ours gets its environment. */
const environmentFd = 9;

/**
 * The command that starts a program with the rights of `running` and no more, in its folder. Its environment, folder and library paths
 * take effect only once it has those rights.
 */
export function startLike(running: VmProcess, wanted: Wanted, before: readonly string[] = []): Start {
  const { words, env } = wanted;
  const own = readCredentials("self");
  const { credentials, cwd } = running;
  if (hasSameRights(own, credentials)) {
    const [program = "", ...args] = [...before, ...umaskWords(own, credentials), ...words];
    return { program, args, cwd, env, environment: undefined, close: () => undefined };
  }
  // A folder that its user can't go to any more it is in already; only the path of a daemon's is from its environment.
  const [folder, go] = running.isDaemon ? ["/", 'cd "$0" && '] : [`/proc/${running.identity.pid}/cwd`, ""];
  const script = `${go}. /proc/self/fd/${environmentFd} && exec ${environmentFd}<&- && exec "$@"`;
  const chain = [...before, ...umaskWords(own, credentials), ...setprivWords(own, credentials)];
  const [program = "", ...args] = [...chain, "/bin/sh", "-c", script, cwd, ...words];
  const environment = environmentFile(env);
  const close = () => closeSync(environment);
  const marks = Object.fromEntries(Object.entries(env).filter(([name]) => markNames.has(name)));
  const ownEnv = { ...marks, PATH: "/usr/sbin:/usr/bin:/sbin:/bin" };
  return { program, args, cwd: folder, env: ownEnv, environment, close };
}

/** What cprkit itself writes into the environment, to find the process again: there from its first moment. */
const markNames = new Set(["CPRKIT_UPDATE", "CPRKIT_UPDATE_OF", "CPRKIT_PROBE"]);

type Stdio = "ignore" | "pipe" | number;

/** The stdio of spawn with the environment's fd at its place. */
export function withEnvironment(stdio: readonly Stdio[], { environment }: Start): Stdio[] {
  const all = [...stdio];
  if (environment === undefined) return all;
  while (all.length < environmentFd) all.push("ignore");
  all[environmentFd] = environment;
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
