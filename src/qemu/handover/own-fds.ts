// The fds that QEMU's CPR leaves behind, in a CprState: under the names and ids by which an update hands them over. So they
// travel in one state with QEMU's own from one cprkit to another, which takes them out before it passes the rest on to QEMU.

import { CprState } from "../../cpr/index.ts";
import {
  describeFd,
  type ProcessIdentity,
  processIdentity,
  readFdInfo,
  readFdLink,
  type WaitOptions,
} from "../../linux/index.ts";
import type { VmFd } from "../fds/fate.ts";
import { readVmFds } from "../fds/list.ts";
import { type OpenVm, openVm, type VmTarget } from "../vm/open.ts";
import { type Handed, handedOf, withHanded } from "./desk.ts";
import { heldFds } from "./held.ts";
import { takeFds } from "./take.ts";
import { attachQueues, holdHeaders, readTaps, restoreTaps } from "./tap-settings.ts";

/** What {@link takeVmFds} gives. */
export interface TakenVmFds {
  /**
   * Each fd under its name and id: "cprkit/netdev/ID" of a network and the number of the queue, "cprkit/chardev/LABEL" of a
   * character device with a listening socket, "cprkit/fdset/N" of an fd set and the place of the fd in it. They are
   * duplicates, close-on-exec.
   */
  readonly state: CprState;
  /** Closes them. A second call does nothing. */
  close(): void;
  /** Calls `close`, for `using`. */
  [Symbol.dispose](): void;
}

/**
 * Duplicates the fds of a running QEMU that its CPR does not carry and `updateVm` would hand over: taps, listening sockets,
 * fd sets. QEMU keeps its own and goes on as it was.
 *
 * @throws CprkitError as `getFdOf` and `openPidfd` (ERR_SYSCALL: not permitted, too many open files, the process is gone);
 * as `connectQmp` when the monitor can't be asked, which alone knows the fd sets; ERR_USAGE without a target
 */
export async function takeVmFds(target: VmTarget, options: WaitOptions = {}): Promise<TakenVmFds> {
  const vm = await openVm(target, options);
  try {
    const { handed } = await fdsOfVm(vm);
    const taken = takeFds(vm.process.identity, handed);
    const state = new CprState();
    for (const [index, { name, id }] of handed.entries()) state.saveFd(name, id, taken.fds[index] ?? -1);
    let isOpen = true;
    const close = () => {
      if (isOpen) taken.close();
      isOpen = false;
    };
    return { state, close, [Symbol.dispose]: close };
  } finally {
    await vm.qmp.close();
  }
}

/** Every fd of the VM with its fate, and which of them an update hands over. @throws CprkitError as `Qmp.execute` */
export async function fdsOfVm(
  vm: OpenVm,
): Promise<{ readonly fds: VmFd[]; readonly handed: readonly Handed[]; readonly interrupts: number }> {
  const { process, qmp, qmpPath } = vm;
  const options = await vm.options();
  const { fds: listed, interrupts } = await readVmFds(process.identity.pid, { qmp, qmpPath, options });
  const held = heldFds(process, listed, await qmp.execute("query-fdsets"));
  const handed = handedOf(held, process.cwd, options);
  return { fds: withHanded(listed, handed), handed, interrupts };
}

/** How names of these fds begin; QEMU gives none such. */
const ownNames = "cprkit/";

/** Puts them into a state that goes to another cprkit. @throws CprkitError ERR_FD_EXISTS */
export function addFds(to: CprState, own: CprState): void {
  // Newest first: saved from the oldest on, they stay in their order.
  for (const { name, id, fd } of own.entries().reverse()) to.saveFd(name, id, fd);
}

/** Takes the fds that are cprkit's own out of a state that has come, into one of their own: the rest is QEMU's. */
export function takeOwnFds(state: CprState): CprState {
  const found = state.entries().filter(({ name }) => name.startsWith(ownNames));
  const own = new CprState();
  for (const { name, id, fd } of found.reverse()) {
    state.deleteFd(name, id);
    own.saveFd(name, id, fd);
  }
  return own;
}

/** What an fd of this process is: as {@link describeFd}, but of a tap its interface, "tap tap0". */
export function describeOwnFd(fd: number): string {
  const link = readFdLink("self", fd);
  const tap = link === "/dev/net/tun" ? readFdInfo("self", fd).fields.get("iff") : /^\/dev\/tap\d+$/.exec(link)?.[0];
  return tap === undefined ? describeFd(fd) : `tap ${tap}`;
}

/** Until the new QEMU, which is started with them, has built its machine the running one must keep its taps as they are. */
export interface GuardedTaps {
  /** Looks no longer. */
  release(): void;
  /** Sets them as they were, for a running QEMU that goes on. @returns what went wrong, in words */
  restore(): string[];
}

/** Guards the taps among fds of this process. @throws CprkitError as `takeFds`, ERR_SYSCALL */
export function guardOwnTaps(own: CprState): GuardedTaps {
  const self: ProcessIdentity = processIdentity(process.pid);
  const handed = own.entries().map(({ name, id, fd }) => ({ name, id, fd, at: fd, what: describeOwnFd(fd) }));
  const taps = readTaps(self, handed);
  attachQueues(self, taps);
  return { release: holdHeaders(self, taps), restore: () => restoreTaps(self, taps) };
}
