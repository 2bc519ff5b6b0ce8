// execve(2) for a Node without process.execve: this process becomes another program and keeps its pid and its fds.

import { constants } from "node:os";
import { CprkitError } from "../../vmstate/error.ts";
import { asFd } from "../as-fd.ts";
import { clearCloseOnExec, getNonblock, isOpen, setNonblock } from "../fd.ts";
import { libc } from "../ffi/koffi.ts";
import { closedAmong, setCloseOnExecOf } from "../many-fds.ts";
import { systemError } from "../system-error.ts";

/** Options of {@link execve}. */
export interface ExecveOptions {
  /**
   * fds that the new program gets under the same numbers. 0, 1 and 2 are always kept. All others stay as they are:
   * what this process opened is close-on-exec, what it inherited mostly is not.
   */
  readonly keepFds?: Iterable<number> | undefined;
}

const standardFds = [0, 1, 2];

/**
 * Replaces this process by the program `path` (execve(2)), at once: no exit handler runs, nothing asynchronous is
 * finished. Does not return.
 *
 * For the new program the standard fds are blocking again, and SIGPIPE and SIGXFSZ, which Node ignores, act as by
 * default; no signal is blocked. When execve fails, all of that and every close-on-exec flag is put back.
 *
 * @param path Taken as it is: PATH is not searched.
 * @param argv From argv[0] on.
 * @param environment Variables by name; those that are undefined are left out. Default: this process's.
 * @throws CprkitError ERR_SYSCALL when the kernel refuses (ENOENT, EACCES, E2BIG …), ERR_FD_INVALID for an fd of
 * keepFds that is not open: checked before anything is changed.
 */
export function execve(
  path: string,
  argv: readonly string[],
  environment: Readonly<Record<string, string | undefined>> = process.env,
  options: ExecveOptions = {},
): never {
  const wanted = Array.from(options.keepFds ?? [], (fd) => asFd(fd));
  const [closed] = closedAmong(wanted);
  if (closed !== undefined)
    throw new CprkitError("ERR_FD_INVALID", `execve ${path}: fd ${closed} is to be kept but is not open`);
  const kept = new Set<number>([...standardFds.filter(isOpen), ...wanted]);
  const variables = Object.entries(environment).flatMap(([name, value]) =>
    value === undefined ? [] : [`${name}=${value}`],
  );
  const undo: (() => void)[] = [];
  try {
    const changed: number[] = [];
    undo.push(() => setCloseOnExecOf(changed));
    for (const fd of kept) if (clearCloseOnExec(fd)) changed.push(fd);
    for (const fd of standardFds) {
      if (!kept.has(fd) || !getNonblock(fd)) continue;
      setNonblock(fd, false);
      undo.push(() => setNonblock(fd, true));
    }
    const c = libc();
    for (const signal of [constants.signals.SIGPIPE, constants.signals.SIGXFSZ]) {
      c.setSignalIgnored(signal, false);
      undo.push(() => c.setSignalIgnored(signal, true));
    }
    const blocked = c.swapSignalMask(new Uint8Array(c.signalMaskBytes));
    undo.push(() => c.swapSignalMask(blocked));
    throw systemError("execve", -c.execve(path, argv, variables), `executing ${path}`);
  } catch (error) {
    for (const step of undo.reverse()) step();
    throw error;
  }
}
