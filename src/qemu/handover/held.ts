// The fds of a running QEMU that cprkit can hand to another one: taps.

import { readFdInfo } from "../../linux/index.ts";
import { isCprkitError } from "../../vmstate/error.ts";
import type { VmFd } from "../fds/fate.ts";

/** An fd that can be handed over. */
export interface Held {
  /** Its number in the running QEMU. */
  readonly fd: number;
  readonly kind: "tap";
  /** Name of the tap interface; of a macvtap its device file, "/dev/tap3". */
  readonly at: string;
  /** cpr-exec closes it. */
  readonly closeOnExec: boolean;
}

/** Those among `fds`, ascending by number. Reads /proc; what has been closed meanwhile is left out. */
export function heldFds(pid: number, fds: readonly VmFd[]): Held[] {
  return fds.flatMap(({ fd, link, what }) => {
    const at = /^\/dev\/tap\d+$/.test(link) ? link : /^tap (.+)$/.exec(what)?.[1];
    if (at === undefined) return [];
    try {
      return [{ fd, kind: "tap", at, closeOnExec: readFdInfo(pid, fd).closeOnExec }];
    } catch (error) {
      if (isCprkitError(error)) return [];
      throw error;
    }
  });
}
