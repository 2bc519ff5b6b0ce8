// Both QEMUs have a listening socket from the start of the new one on, and whoever of them is quicker accepts the next
// client: before the guest is handed over nobody may get to the new one. QEMU serves one client at a time at each
// character device, and while it has one it does not accept. So cprkit is that client: it connects behind the one that
// the old QEMU serves, the new QEMU accepts the first in the queue, and that is cprkit. The client's end is an fd of the
// new QEMU itself, so it holds also when cprkit is killed; whoever ends the update takes a duplicate of it and hangs up.
// All others wait in the queue as they would at any busy monitor, or are served by the old QEMU.

import { fstatSync } from "node:fs";
import { setTimeout as delay } from "node:timers/promises";
import {
  closeFd,
  closeFds,
  connectUnix,
  getFdOf,
  listenAgain,
  openPidfd,
  type ProcessIdentity,
  shutdownSocket,
  type WaitOptions,
} from "../../linux/index.ts";
import { unixSockets } from "../../linux/socket/unix-table.ts";
import { CprkitError, isCprkitError } from "../../vmstate/error.ts";
import { listeningFds } from "../fds/sockets.ts";
import { connectQmp } from "../qmp/client.ts";
import type { OpenVm } from "../vm/open.ts";
import type { VmProcess } from "../vm/process.ts";
import { type Handed, isSocket } from "./desk.ts";
import { absoluteName } from "./held.ts";
import { connectTwice, hasAccepted, type Place } from "./queues.ts";

/** A socket that is held shut in the new QEMU. */
export interface Door {
  /** Its path, as QEMU calls it, or "ADDRESS:PORT". */
  readonly at: string;
  /** The client's end that holds the new QEMU's place. It gets a duplicate, which stays when cprkit is killed. */
  readonly holder: number;
  /** Before it in the queue: for the old QEMU, which accepts it as soon as it is free. Where it serves cprkit: none. */
  readonly guard: number | undefined;
}

/** How often it is tried to be the first in the queue. */
const attempts = 5;
/** How many clients may wait meanwhile. */
const backlog = 64;
const pollMs = 2;

/**
 * Gets the place behind our own session at the monitor: by the time the new QEMU is started others would wait there.
 * Where others wait already the session is given back and begun anew, with the place right behind it.
 *
 * @returns the VM with the session, and the place; undefined for a socket that cprkit can't hand over
 * @throws CprkitError ERR_UPDATE_REFUSED when others are always quicker; as `connectQmp`
 */
export async function takePlace(
  vm: OpenVm,
  wait: WaitOptions,
): Promise<{ readonly vm: OpenVm; readonly place: number | undefined }> {
  const { process, qmpPath, qmpInside } = vm;
  let qmp = vm.qmp;
  let place = await connectUnix(qmpPath, wait);
  for (let attempt = 0; attempt < attempts; attempt++) {
    if (isFirst(process.identity.pid, place)) return { vm: { ...vm, qmp }, place };
    widen(process, { kind: "unix", at: qmpInside });
    // Both at once: what comes in between would have to come within microseconds.
    const session = await connectUnix(qmpPath, wait);
    closeFd(place);
    place = await connectUnix(qmpPath, wait);
    await qmp.close();
    try {
      qmp = await connectQmp({ fd: session }, { signal: wait.signal, timeoutMs: wait.timeoutMs });
    } catch (error) {
      closeFd(place);
      throw error;
    }
  }
  closeFd(place);
  await qmp.close();
  throw new CprkitError(
    "ERR_UPDATE_REFUSED",
    `${qmpPath}: other clients keep connecting to this monitor, and one of them would get to the new QEMU before the ` +
      "guest does; give QEMU a second -qmp for cprkit",
  );
}

/** Whether the client is the first who waits on its socket. Where the kernel does not say, nobody is thought to wait. */
function isFirst(pid: number, client: number): boolean {
  const inode = fstatSync(client).ino;
  const queue = unixSockets(pid).find(({ waiting }) => waiting?.includes(inode) === true)?.waiting;
  return queue === undefined || queue[0] === inode;
}

/** Lets more clients wait at a socket of the process. */
function widen({ identity, cwd }: VmProcess, place: Place): void {
  const fd = findListening(identity.pid, cwd, place);
  if (fd === undefined) return;
  const pidfd = openPidfd(identity);
  const opened: number[] = [pidfd];
  try {
    const socket = getFdOf(pidfd, fd);
    opened.push(socket);
    listenAgain(socket, backlog);
  } finally {
    closeFds(opened);
  }
}

/**
 * Takes the first places in the queue of each socket that is handed over.
 *
 * @param own the place behind cprkit's own session
 * @throws CprkitError ERR_UPDATE_REFUSED when others are always before us; as `connectUnix`
 */
export async function shutDoors(
  vm: OpenVm,
  handed: readonly Handed[],
  own: number | undefined,
  wait: WaitOptions,
): Promise<Door[]> {
  const { process, qmpInside } = vm;
  const doors: Door[] = [];
  try {
    for (const place of handed.filter(isSocket).map(placeOf)) {
      const { at } = place;
      const isOwn = at === qmpInside && own !== undefined;
      doors.push({ at, ...(isOwn ? { holder: own, guard: undefined } : await takePlaces(process, place, wait)) });
    }
    return doors;
  } catch (error) {
    closeFds(doors.flatMap(endsOf).filter((end) => end !== own));
    throw error;
  }
}

/** Two places, one behind the other, of which the old QEMU may accept the first at any time. */
async function takePlaces(vm: VmProcess, place: Place, wait: WaitOptions): Promise<Pick<Door, "holder" | "guard">> {
  widen(vm, place);
  const end = performance.now() + Math.min(wait.timeoutMs ?? placesMs, placesMs);
  const [guard, holder] = (await connectTwice(vm, place, end, wait)) ?? [];
  if (holder !== undefined) return { guard, holder };
  throw new CprkitError(
    "ERR_UPDATE_REFUSED",
    `${place.at}: a client waits there behind the one that QEMU serves, and would get to the new QEMU before the guest ` +
      "does; let it end, or try again",
  );
}

const placesMs = 5_000;

/** All that is ours of a door. */
export function endsOf({ holder, guard }: Door): number[] {
  return guard === undefined ? [holder] : [holder, guard];
}

/**
 * Waits until the new QEMU has accepted the holder at each socket, and frees the old one's place. The holders stay ours,
 * too.
 *
 * @throws CprkitError ERR_TIMEOUT when it has not
 */
export async function untilShut(started: VmProcess, doors: readonly Door[], wait: WaitOptions): Promise<void> {
  const { pid } = started.identity;
  const limitMs = Math.min(wait.timeoutMs ?? acceptMs, acceptMs);
  const end = performance.now() + limitMs;
  for (const { at, holder, guard } of doors) {
    while (!hasAccepted(pid, holder)) {
      // The old one's client has stayed, so the new one has come to this first.
      if (guard !== undefined && hasAccepted(pid, guard, false)) hangUp(guard);
      if (performance.now() > end) {
        const text = `${at}: the new QEMU has not accepted cprkit's client within ${limitMs} ms: another one was before it`;
        throw new CprkitError("ERR_TIMEOUT", text);
      }
      await delay(pollMs, undefined, wait.signal === undefined ? {} : { signal: wait.signal });
    }
  }
  for (const { guard } of doors) if (guard !== undefined) hangUp(guard);
}

const acceptMs = 5_000;

/** Hangs up. False: the kernel has refused it. */
function hangUp(end: number): boolean {
  try {
    shutdownSocket(end, "both");
    return true;
  } catch (error) {
    if (!isCprkitError(error)) throw error;
    // The other end has done so.
    return error.errno === "ENOTCONN";
  }
}

/**
 * After cprkit was killed: the old QEMU, free by that, may have accepted what was meant for the new one, and serves
 * nobody else. `numbers` are fds of the new one. Never throws.
 */
export function freeSource(source: ProcessIdentity, started: ProcessIdentity, numbers: readonly number[]): void {
  withFdsOf(started, numbers, (end) => {
    if (hasAccepted(source.pid, end, false)) shutdownSocket(end, "both");
  });
}

/** Opens the doors. `own`: the holders, if they are ours still; else they are taken from the new QEMU, by their numbers there. @returns what went wrong, in words */
export function openDoors(started: ProcessIdentity, numbers: readonly number[], own: readonly number[]): string[] {
  if (own.length === numbers.length && own.every(hangUp)) return [];
  return withFdsOf(started, numbers, (end) => shutdownSocket(end, "both"))
    .filter(({ errno }) => errno !== "ENOTCONN")
    .map(({ reason }) => `a socket of the new QEMU still serves nobody: ${reason}`);
}

/** @returns the errors */
function withFdsOf(
  { pid, startTime }: ProcessIdentity,
  numbers: readonly number[],
  act: (end: number) => void,
): CprkitError[] {
  const errors: CprkitError[] = [];
  for (const number of numbers) {
    const opened: number[] = [];
    try {
      const pidfd = openPidfd({ pid, startTime });
      opened.push(pidfd);
      const end = getFdOf(pidfd, number);
      opened.push(end);
      act(end);
    } catch (error) {
      if (!isCprkitError(error)) throw error;
      errors.push(error);
    } finally {
      closeFds(opened);
    }
  }
  return errors;
}

/** "/run/vm/qmp.sock" of "unix /run/vm/qmp.sock". */
function placeOf({ what }: Handed): Place {
  const kind = what.startsWith("tcp ") ? "tcp" : "unix";
  return { kind, at: what.slice(kind.length + 1) };
}

function findListening(pid: number, cwd: string, { kind, at }: Place): number | undefined {
  return [...listeningFds(pid)].find(
    ([, { family, at: name }]) => family === kind && (kind === "tcp" ? name : absoluteName(cwd, name)) === at,
  )?.[0];
}
