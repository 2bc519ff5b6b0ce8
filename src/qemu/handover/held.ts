// The fds of a running QEMU that cprkit can hand to another one: taps, and UNIX sockets on which it listens.

import { resolve } from "node:path";
import { readFdInfo } from "../../linux/index.ts";
import { isCprkitError } from "../../vmstate/error.ts";
import type { VmFd } from "../fds/fate.ts";
import { listeningUnixFds } from "../fds/sockets.ts";

/** An fd that can be handed over. */
export interface Held {
  /** Its number in the running QEMU. */
  readonly fd: number;
  readonly kind: "tap" | "unix";
  /**
   * Name of the tap interface, of a macvtap its device file ("/dev/tap3"); path of the socket, as QEMU calls it and
   * absolute, or "@NAME" in the abstract namespace.
   */
  readonly at: string;
  /** cpr-exec closes it. */
  readonly closeOnExec: boolean;
}

/**
 * Those of a process, ascending by number. Reads /proc; what has been closed meanwhile is left out.
 *
 * @param cwd the folder in which QEMU has bound relative paths
 */
export function heldFds(pid: number, cwd: string, fds: readonly VmFd[]): Held[] {
  const listening = listeningUnixFds(pid);
  return fds.flatMap(({ fd, link, what }) => {
    const path = listening.get(fd);
    const tap = /^\/dev\/tap\d+$/.test(link) ? link : /^tap (.+)$/.exec(what)?.[1];
    if (path === undefined && tap === undefined) return [];
    const kind = tap === undefined ? "unix" : "tap";
    const at = tap ?? absoluteName(cwd, path ?? "");
    try {
      return [{ fd, kind, at, closeOnExec: readFdInfo(pid, fd).closeOnExec } as const];
    } catch (error) {
      if (isCprkitError(error)) return [];
      throw error;
    }
  });
}

/** The name of a socket, a path made absolute. */
export function absoluteName(cwd: string, name: string): string {
  return name.startsWith("@") ? name : resolve(cwd, name);
}
