// Who waits at a listening socket, in which order, and who has accepted whom, as the kernel tells it: of UNIX sockets by
// sock_diag(7), of TCP by /proc/PID/net/tcp, which has no order: there, who came before us is who was there before.

import { fstatSync } from "node:fs";
import { setTimeout as delay } from "node:timers/promises";
import { closeFd, closeFds, connectUnix, type WaitOptions } from "../../linux/index.ts";
import { beginTcp, type TcpSocket, tcpSockets, untilConnected } from "../../linux/socket/tcp.ts";
import { unixSockets } from "../../linux/socket/unix-table.ts";
import { socketInodes } from "../fds/sockets.ts";
import { outside } from "../namespaces/paths.ts";
import type { VmProcess } from "../vm/process.ts";

/** A listening socket of a QEMU. */
export interface Place {
  readonly kind: "unix" | "tcp";
  /** Its path, as QEMU calls it and absolute, or "ADDRESS:PORT" as the kernel writes it. */
  readonly at: string;
}

const pollMs = 2;

/**
 * Connects twice, so that nobody is before or between the two.
 *
 * @param end until when it is tried, by performance.now()
 * @returns undefined when others have always been before them
 * @throws CprkitError as `connectUnix`, `beginTcp`, `untilConnected`
 */
export async function connectTwice(
  vm: VmProcess,
  place: Place,
  end: number,
  wait: WaitOptions,
): Promise<readonly [first: number, second: number] | undefined> {
  while (performance.now() < end) {
    const { ends, look } = await (place.kind === "tcp" ? tcpTwice(place.at, wait) : unixTwice(vm, place.at, wait));
    let order = look();
    while (order === "others first" && performance.now() < end) {
      await delay(pollMs);
      order = look();
    }
    if (order === "right") return ends;
    closeFds(ends);
    await delay(pollMs);
  }
  return undefined;
}

interface Twice {
  readonly ends: readonly [first: number, second: number];
  look(): Order;
}

/** "right": nobody is before us, or between us. Where the kernel does not say, nobody is thought to wait. */
type Order = "right" | "others first" | "others between";

async function unixTwice(vm: VmProcess, at: string, wait: WaitOptions): Promise<Twice> {
  const { pid } = vm.identity;
  const path = outside(vm, at);
  const first = await connectUnix(path, wait);
  const second = await connectUnix(path, wait).catch((error: unknown) => {
    closeFd(first);
    throw error;
  });
  const [one, two] = [fstatSync(first).ino, fstatSync(second).ino];
  const look = () => {
    const queue = unixSockets(pid).flatMap(({ waiting }) => (waiting?.includes(two) === true ? waiting : []));
    if (queue.length === 0 || queue[0] === two || (queue[0] === one && queue[1] === two)) return "right";
    return queue.includes(one) && queue.indexOf(two) === queue.indexOf(one) + 1 ? "others first" : "others between";
  };
  return { ends: [first, second], look };
}

/**
 * Those who were not there just before, and are there just after, may have come between us. Both is looked at at once,
 * within a part of a millisecond: who comes later is behind us.
 */
async function tcpTwice(at: string, wait: WaitOptions): Promise<Twice> {
  const before = waitingAt(at);
  const ends = [beginTcp(at)];
  try {
    ends.push(beginTcp(at));
    const after = waitingAt(at);
    const own = ends.map((fd) => ownEnd(fd));
    const others = after.filter((each) => !own.some((end) => end?.local === each));
    const isSure = own.every((end) => end?.state === "connected") && others.every((each) => before.includes(each));
    for (const end of ends) await untilConnected(end, at, wait);
    const [first = -1, second = -1] = ends;
    const look = () => {
      if (!isSure) return "others between";
      return waitingAt(at).some((each) => before.includes(each)) ? "others first" : "right";
    };
    return { ends: [first, second], look };
  } catch (error) {
    closeFds(ends);
    throw error;
  }
}

/** Addresses of the clients that wait at a port. */
function waitingAt(at: string): string[] {
  const [host, port] = [at.slice(0, at.lastIndexOf(":")), at.slice(at.lastIndexOf(":"))];
  const isAny = /^0\.0\.0\.0$|^\[[0:]*\]$/.test(host);
  return familyOf(at).flatMap(({ inode, state, local, remote }) => {
    const isThere = isAny ? local.endsWith(port) : local === at;
    return inode === 0 && isThere && (state === "connected" || state === "closing") ? [remote] : [];
  });
}

/** Our own end of a TCP connection; undefined for another kind of socket. */
function ownEnd(fd: number): TcpSocket | undefined {
  const inode = fstatSync(fd).ino;
  const isIt = (socket: TcpSocket) => socket.inode === inode;
  return tcpSockets("self", "tcp").find(isIt) ?? tcpSockets("self", "tcp6").find(isIt);
}

function familyOf(address: string): TcpSocket[] {
  return tcpSockets("self", address.startsWith("[") ? "tcp6" : "tcp");
}

/** Whether a process has accepted our connection; `unknown` where the kernel does not say. */
export function hasAccepted(pid: number, end: number, unknown = true): boolean {
  const inode = fstatSync(end).ino;
  const peer = unixSockets(pid).find((socket) => socket.inode === inode)?.peer;
  if (peer !== undefined) return peer !== 0 && socketInodes(pid).includes(peer);
  const own = ownEnd(end);
  if (own === undefined) return unknown;
  const there = familyOf(own.local).find(({ local, remote }) => local === own.remote && remote === own.local);
  return there !== undefined && there.inode !== 0 && socketInodes(pid).includes(there.inode);
}
