// The QEMUs that run on this host, by name: those whose process this user may look at.

import { statSync } from "node:fs";
import { basename } from "node:path";
import { processIds, readProcessFile, readProcessLink } from "../../linux/process/proc.ts";
import { roomySignal } from "../../linux/wait/roomy-signal.ts";
import { type CprkitError, isCprkitError } from "../../vmstate/error.ts";
import { isLoader, programWords } from "../command-line/program-words.ts";
import { openVm, type VmTarget } from "../vm/open.ts";
import { isProbe } from "../vm/probe-mark.ts";
import { wordsOf } from "../vm/process.ts";

/** A QEMU that runs on this host. */
export interface RunningVm extends VmTarget {
  readonly pid: number;
  /** Absolute path of the monitor by which it was asked; undefined if it has none that can be reached. */
  readonly qmp: string | undefined;
  /** As `-name` gave it (query-name); undefined without one. */
  readonly name: string | undefined;
  /** Why it can't be asked. */
  readonly problem: CprkitError | undefined;
}

/**
 * Every QEMU of this user, for root of all users, in order of their process ids: processes whose program is called
 * qemu-system-…, qemu-kvm or kvm. Each is asked its name by its own monitor. One that can't be asked is in the list, too.
 *
 * @throws CprkitError ERR_ABORTED
 */
export async function findVms({ signal }: { readonly signal?: AbortSignal | undefined } = {}): Promise<RunningVm[]> {
  const roomy = roomySignal(signal);
  return Promise.all(
    qemuProcesses()
      .filter(({ isOurs }) => isOurs)
      .map(({ pid }) => ask(pid, roomy)),
  );
}

/** A process that runs a QEMU system emulator. */
export interface QemuProcess {
  readonly pid: number;
  /** Whose it is. */
  readonly uid: number;
  /** Whether this user may look at it: its own user, or root. */
  readonly isOurs: boolean;
}

/** Every QEMU of every user, as far as /proc shows them; in order of their process ids. Nothing is asked of them. */
export function qemuProcesses(): QemuProcess[] {
  const own = process.geteuid?.();
  return processIds().flatMap((pid) => {
    try {
      const { uid } = statSync(`/proc/${pid}`);
      const isOurs = own === 0 || uid === own;
      return (isOurs ? isOwnQemu(pid) : isOthersQemu(pid)) ? [{ pid, uid, isOurs }] : [];
    } catch {
      // It has ended, or is not ours to look at.
      return [];
    }
  });
}

async function ask(pid: number, signal: AbortSignal | undefined): Promise<RunningVm> {
  try {
    const { qmp, qmpPath } = await openVm({ pid }, { signal, timeoutMs: 5_000, commandTimeoutMs: 5_000 });
    try {
      return { pid, qmp: qmpPath, name: (await qmp.execute("query-name")).name, problem: undefined };
    } finally {
      await qmp.close();
    }
  } catch (error) {
    if (!isCprkitError(error) || error.code === "ERR_ABORTED") throw error;
    return { pid, qmp: undefined, name: undefined, problem: error };
  }
}

function isOwnQemu(pid: number): boolean {
  // Of a kernel thread there is none. The dynamic loader may run it.
  const program = readProcessLink(pid, "exe").replace(/ \(deleted\)$/, "");
  const runs = isLoader(program) ? programWords({ argv: wordsOf(pid, "cmdline"), program }).at(-1) : program;
  return isQemuName(runs) && !isProbe(pid);
}

/** Of another user's there are only the words, which it may have written itself, and the name of its main thread. */
function isOthersQemu(pid: number): boolean {
  const argv = wordsOf(pid, "cmdline");
  const [program = ""] = argv;
  const runs = isLoader(program) ? programWords({ argv, program }).at(-1) : program;
  return isQemuName(runs) || isQemuName(readProcessFile(pid, "comm").trim());
}

function isQemuName(program: string | undefined): boolean {
  return /^(qemu-system-.+|qemu-kvm.*|kvm)$/.test(basename(program ?? ""));
}
