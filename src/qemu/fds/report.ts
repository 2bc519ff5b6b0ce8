// The fds of a running VM, named by its process or its QMP socket; works as far as possible when the monitor is taken.

import type { WaitOptions } from "../../linux/index.ts";
import { isCprkitError } from "../../vmstate/error.ts";
import { handedOf, withHanded } from "../handover/desk.ts";
import { heldFds } from "../handover/held.ts";
import { fdsOfVm } from "../handover/own-fds.ts";
import { versionText } from "../vm/binary.ts";
import { openVm, type VmTarget } from "../vm/open.ts";
import { readOwnOptions } from "../vm/own-options.ts";
import { readVmProcess } from "../vm/process.ts";
import type { VmFd } from "./fate.ts";
import { listVmFds } from "./list.ts";

/** What {@link reportVmFds} gives. Plain data. */
export interface VmFdsReport {
  /** Of QEMU. */
  readonly pid: number;
  /** Its program file. */
  readonly program: string;
  /** Absent when the monitor could not be asked. */
  readonly version?: string;
  /** Ascending by number. */
  readonly fds: readonly VmFd[];
  /** Carried as well, about as many: event notifiers of VFIO devices' interrupts. Which of them can't be seen from outside. */
  readonly interrupts: number;
  /** What could not be found out, and why. */
  readonly warnings: readonly string[];
}

/**
 * Lists every fd of a running QEMU with what becomes of it in a CPR update. A process without a free monitor is
 * inspected only from outside, with a warning.
 *
 * @throws CprkitError ERR_SYSCALL when there is no such process or it may not be looked at; as {@link openVm} when
 * only a QMP socket is named and can't be connected to; ERR_ABORTED.
 */
export async function reportVmFds(target: VmTarget, options: WaitOptions = {}): Promise<VmFdsReport> {
  // First of all, so that a process which may not be looked at is an error and not a warning.
  const fromOutside = target.pid === undefined ? undefined : readVmProcess(target.pid);
  try {
    const vm = await openVm(target, options);
    const { process, qmp } = vm;
    try {
      const { pid } = process.identity;
      const { fds, interrupts } = await fdsOfVm(vm);
      const { version } = qmp.greeting;
      const warnings = version.major < 10 ? [`QEMU ${versionText(version)} is older than CPR: it carries nothing`] : [];
      return { pid, program: process.program, version: versionText(version), fds, interrupts, warnings };
    } finally {
      await qmp.close();
    }
  } catch (error) {
    if (fromOutside === undefined || target.qmp !== undefined) throw error;
    if (!isCprkitError(error) || error.code === "ERR_ABORTED" || error.code === "ERR_SYSCALL") throw error;
    const { identity, argv, program } = fromOutside;
    const line = await readOwnOptions(fromOutside, options);
    const listed = await listVmFds(identity.pid, { options: line });
    const held = heldFds(fromOutside, listed, []);
    const fds = withHanded(listed, handedOf(held, fromOutside.cwd, line));
    const warning = `the monitor could not be asked, so some names are missing and VFIO is left out: ${error.message}`;
    const looksRight = [program, ...argv].some((word) => word.includes("qemu"));
    const stranger = `process ${identity.pid} runs ${program}: is it a QEMU? FATE is right only for one`;
    return { pid: identity.pid, program, fds, interrupts: 0, warnings: looksRight ? [warning] : [stranger, warning] };
  }
}
