// The fds of a running QEMU that cprkit can hand to another one: taps, sockets on which it listens, and what is in the
// fd sets that a parent process or a monitor gave it.

import { resolve } from "node:path";
import { readFdInfo } from "../../linux/index.ts";
import { isCprkitError } from "../../vmstate/error.ts";
import type { VmFd } from "../fds/fate.ts";
import { listeningFds } from "../fds/sockets.ts";
import type { QmpReturn } from "../qmp/schema.ts";
import type { VmProcess } from "../vm/process.ts";

/** An fd that can be handed over. */
export interface Held {
  /** Its number in the running QEMU. */
  readonly fd: number;
  readonly kind: "tap" | "unix" | "tcp" | "fdset";
  /**
   * Name of the tap interface, of a macvtap its device file ("/dev/tap3"); path of the socket, as QEMU calls it and
   * absolute, or "@NAME" in the abstract namespace; "ADDRESS:PORT" as the kernel writes it; number of the fd set.
   */
  readonly at: string;
  /** What the giver of an fd in a set has written there for itself. */
  readonly opaque?: string | undefined;
  /** cpr-exec closes it. */
  readonly closeOnExec: boolean;
}

/**
 * Those of a process, ascending by number. Reads /proc; what has been closed meanwhile is left out.
 *
 * @param sets what the fd sets are
 */
export function heldFds(
  { identity: { pid }, cwd, namespaces }: VmProcess,
  fds: readonly VmFd[],
  sets: QmpReturn<"query-fdsets">,
): Held[] {
  const listening = listeningFds(pid);
  const inSets = new Map(sets.flatMap((set) => set.fds.map((each) => [each.fd, { ...each, id: set["fdset-id"] }])));
  const kindOf = ({ fd, link, what }: VmFd): Omit<Held, "fd" | "closeOnExec"> | undefined => {
    const set = inSets.get(fd);
    if (set !== undefined) return { kind: "fdset", at: String(set.id), opaque: set.opaque };
    const tap = /^\/dev\/tap\d+$/.test(link) ? link : /^tap (.+)$/.exec(what)?.[1];
    if (tap !== undefined) return { kind: "tap", at: tap };
    const socket = listening.get(fd);
    if (socket?.family === "unix") return { kind: "unix", at: absoluteName(cwd, socket.at) };
    // cprkit must get there, too.
    return socket === undefined || namespaces.includes("net") ? undefined : { kind: "tcp", at: socket.at };
  };
  return fds.flatMap((each) => {
    const what = kindOf(each);
    if (what === undefined) return [];
    const { fd } = each;
    try {
      return [{ fd, ...what, closeOnExec: readFdInfo(pid, fd).closeOnExec }];
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
