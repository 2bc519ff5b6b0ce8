// cpr-exec: the state survives execve in a memfd whose number is in an environment variable; the fds stay open
// under their own numbers (QEMU 10.2 migration/cpr-exec.c).

import { closeSync, constants, fstatSync, openSync, readSync, writeSync } from "node:fs";
// Each from its own file: a program that was just executed waits for every file that is loaded.
import { maxCprStateBytes } from "../cpr/limits.ts";
import type { CprState } from "../cpr/state.ts";
import { type LoadedCpr, loadCprState, type SaveCprOptions, saveCprState } from "../cpr/stream.ts";
import type { FdEntry } from "../cpr/table/fd-table.ts";
import type { CprTrace } from "../cpr/trace.ts";
import { closeFd, isOpen } from "../linux/fd.ts";
import { closedAmong, setCloseOnExecOf } from "../linux/many-fds.ts";
import { createMemfd } from "../linux/memfd.ts";
import { execve } from "../linux/process/exec.ts";
import { CprkitError } from "../vmstate/error.ts";

/** The variable that holds the memfd's number in decimal; also the memfd's name. */
export const cprExecVariable = "QEMU_CPR_EXEC_STATE";

/** Options of {@link execWithCprState}. */
export interface ExecCprOptions extends Omit<SaveCprOptions, "fdForm"> {
  /** Environment of the new program. Default: this process's. */
  readonly env?: Readonly<Record<string, string | undefined>> | undefined;
}

/**
 * Becomes the program at `path`, with the state and every fd in it. Does not return: if it throws, this process goes
 * on as it was. The state is in a memfd whose number is in {@link cprExecVariable} (QEMU 10.2 migration/cpr-exec.c).
 *
 * @param path Taken as it is: PATH is not searched.
 * @param argv From argv[0] on.
 * @throws CprkitError ERR_SYSCALL if execve fails or the memfd cannot be made, ERR_FD_INVALID if an fd of the state is
 * not open; as {@link saveCprState}.
 */
export function execWithCprState(
  state: CprState,
  path: string,
  argv: readonly string[],
  options: ExecCprOptions = {},
): never {
  // Before the memfd is made: it would take the number of an fd that is not open.
  const entries = state.entries();
  throwIfClosed(entries, new Set(closedAmong(entries.map(({ fd }) => fd))));
  const memfd = writeExecState(state, options);
  try {
    execve(
      path,
      argv,
      { ...(options.env ?? process.env), [cprExecVariable]: String(memfd) },
      { keepFds: [memfd, ...entries.map(({ fd }) => fd)] },
    );
  } catch (error) {
    closeFd(memfd);
    throw error;
  }
}

/** Options of {@link loadCprStateFromExec}. */
export interface LoadExecOptions {
  /** The environment to look in; the variable is removed from it. Default: this process's. */
  readonly env?: Record<string, string | undefined> | undefined;
  /** Sees the trace events of loading. */
  readonly trace?: CprTrace | undefined;
}

/**
 * Loads the state that an older program left at execve, or returns undefined if there is none. All fds of the state
 * are close-on-exec afterwards, the memfd is closed.
 *
 * @throws CprkitError ERR_BAD_STREAM if the variable does not hold the number of an open memfd, ERR_LIMIT if that has
 * more than 64 MiB, ERR_FD_INVALID if the state names an fd that is not open (the others stay open), and as
 * {@link loadCprState}.
 */
export function loadCprStateFromExec(options: LoadExecOptions = {}): LoadedCpr | undefined {
  const env = options.env ?? process.env;
  const value = env[cprExecVariable];
  if (value === undefined) return undefined;
  delete env[cprExecVariable];
  const memfd = /^\d{1,9}$/.test(value) ? Number(value) : -1;
  // Anything but a file was not put there for us: it is not closed either.
  if (memfd < 0 || !isOpen(memfd) || !fstatSync(memfd).isFile()) {
    throw new CprkitError(
      "ERR_BAD_STREAM",
      `${cprExecVariable} should hold the number of an open memfd, found ${JSON.stringify(value)}`,
    );
  }
  try {
    const loaded = loadCprState({ bytes: readAll(memfd) }, { trace: options.trace, fdForm: "number" });
    const entries = [...loaded.state.entries(), ...loaded.dropped];
    const fds = entries.map(({ fd }) => fd);
    // The memfd took the number of an fd that was closed before it was made.
    const closed = new Set([memfd, ...closedAmong(fds)]);
    setCloseOnExecOf(fds.filter((fd) => !closed.has(fd)));
    throwIfClosed(entries, closed);
    loaded.state.isIncoming = true;
    return loaded;
  } finally {
    closeFd(memfd);
  }
}

/**
 * Reads the state that another process keeps for execve, from outside: `fd` is the number in its environment variable.
 * Numbers in the state are fds of that process.
 *
 * @throws CprkitError ERR_FILE if it cannot be opened, ERR_BAD_STREAM if it is not a file, ERR_LIMIT if it has more than
 * 64 MiB, and as {@link loadCprState}.
 */
export function readExecCprState(pid: number, fd: number): LoadedCpr {
  const path = `/proc/${pid}/fd/${fd}`;
  let file: number;
  try {
    // A pipe must not make us wait for its writer.
    file = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
  } catch (cause) {
    throw new CprkitError("ERR_FILE", `${path} cannot be read: is process ${pid} alive, and yours?`, { cause });
  }
  try {
    return loadCprState({ bytes: readAll(file) }, { fdForm: "number" });
  } finally {
    closeSync(file);
  }
}

function writeExecState(state: CprState, options: ExecCprOptions): number {
  const { bytes } = saveCprState(state, { ...options, fdForm: "number" });
  const memfd = createMemfd(cprExecVariable);
  try {
    let written = 0;
    while (written < bytes.length) written += writeSync(memfd, bytes, written, bytes.length - written, written);
    return memfd;
  } catch (cause) {
    closeFd(memfd);
    throw new CprkitError("ERR_SYSCALL", `the state cannot be written to a memfd: ${String(cause)}`, {
      syscall: "write",
      cause,
    });
  }
}

/** The whole file from its start, wherever its position is: the writer leaves it at the end. */
function readAll(fd: number): Uint8Array {
  const stat = fstatSync(fd);
  if (!stat.isFile())
    throw new CprkitError("ERR_BAD_STREAM", "expected a memfd with a CPR state, found another kind of fd");
  if (stat.size > maxCprStateBytes) {
    throw new CprkitError("ERR_LIMIT", `a file of ${stat.size} bytes: no CPR state has more than ${maxCprStateBytes}`, {
      offset: maxCprStateBytes,
    });
  }
  const bytes = new Uint8Array(stat.size);
  let read = 0;
  while (read < bytes.length) {
    const count = readSync(fd, bytes, read, bytes.length - read, read);
    if (count === 0) break;
    read += count;
  }
  return bytes.subarray(0, read);
}

/** Throws for the first entry whose fd is among `closed`. */
function throwIfClosed(entries: readonly FdEntry[], closed: ReadonlySet<number>): void {
  const first = entries.find(({ fd }) => closed.has(fd));
  if (first !== undefined) throw notOpen(first.name, first.id, first.fd);
}

function notOpen(name: string, id: number, fd: number): CprkitError {
  return new CprkitError(
    "ERR_FD_INVALID",
    `the state says that ${JSON.stringify(name)} id ${id} is fd ${fd}, but that is not open`,
  );
}
