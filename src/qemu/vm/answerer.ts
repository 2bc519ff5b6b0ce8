// Which process answers on a monitor. SO_PEERCRED names the one that has called listen(2) last: of a socket that was
// handed over, or was to be, that may be another one than the QEMU that has accepted. So the kernel is asked whose the
// other end is.

import { type ProcessIdentity, processIdentity } from "../../linux/index.ts";
import { processIds } from "../../linux/process/proc.ts";
import { unixSockets } from "../../linux/socket/unix-table.ts";
import { isCprkitError } from "../../vmstate/error.ts";
import { socketInodes } from "../fds/sockets.ts";
import type { Qmp } from "../qmp/client.ts";

/** Whether this process answers on the monitor. Where the kernel does not say, who listens is thought to answer. */
export function isAnsweredBy({ server }: Qmp, identity: ProcessIdentity): boolean {
  const end = otherEnd(server.socket);
  return end === undefined ? server.is(identity) : isSocketOf(identity.pid, end);
}

/** The process that answers; undefined if it has ended or can't be seen. As {@link isAnsweredBy}. */
export function answererOf({ server }: Qmp): ProcessIdentity | undefined {
  const end = otherEnd(server.socket);
  const { process } = server;
  if (end === undefined || (process !== undefined && isSocketOf(process.pid, end))) return process;
  const pid = processIds().find((each) => isSocketOf(each, end));
  return pid === undefined ? process : orUndefined(() => processIdentity(pid));
}

/** The inode of the other end of one of our connections. */
function otherEnd(socket: number): number | undefined {
  const peer = orUndefined(() => unixSockets().find(({ inode }) => inode === socket)?.peer);
  return peer === 0 ? undefined : peer;
}

function isSocketOf(pid: number, inode: number): boolean {
  return orUndefined(() => socketInodes(pid).includes(inode)) === true;
}

/** What may have ended, or is another user's. */
function orUndefined<T>(look: () => T): T | undefined {
  try {
    return look();
  } catch (error) {
    if (isCprkitError(error)) return undefined;
    throw error;
  }
}
