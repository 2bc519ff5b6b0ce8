// What runs on this host, and what can be done with each: one line for a VM, from its own monitor and the checks of preflight.

import { readdirSync, readFileSync } from "node:fs";
import { availableParallelism } from "node:os";
import { roomySignal } from "../../linux/wait/roomy-signal.ts";
import { type CprkitError, isCprkitError } from "../../vmstate/error.ts";
import { preflightOfOpen, type UpdateWay } from "../preflight/preflight.ts";
import { type UpdateModeName, versionText } from "../vm/binary.ts";
import { openVm } from "../vm/open.ts";
import { type QemuProcess, qemuProcesses } from "./find.ts";

/** One QEMU of this host. What can't be found out is absent, and `problem` says why. Plain data. */
export interface ListedVm {
  readonly pid: number;
  readonly uid: number;
  /** The name of `uid` in /etc/passwd. */
  readonly user?: string | undefined;
  /** As `-name` gave it (query-name). */
  readonly name?: string | undefined;
  /** Absolute path of the monitor by which it was asked. */
  readonly qmp?: string | undefined;
  /** By its own words, such as "10.0.2". */
  readonly version?: string | undefined;
  /** With its version, such as "pc-q35-10.0". */
  readonly machine?: string | undefined;
  readonly runState?: string | undefined;
  /** How many fds it has open. */
  readonly fds?: number | undefined;
  /** The mode that an update would take; absent if nothing works. */
  readonly mode?: UpdateModeName | undefined;
  /** Each mode, and what is in its way. */
  readonly ways?: readonly UpdateWay[] | undefined;
  /** The new QEMU that the modes are about; its version is absent if it could not be asked. */
  readonly new?: { readonly program: string; readonly version?: string } | undefined;
  readonly problem?: { readonly code: string; readonly message: string } | undefined;
}

/** Options of {@link listVms}. */
export interface ListVmsOptions {
  /** The new QEMU (default: of each VM, the program that it was started from). */
  readonly qemu?: string | undefined;
  /** Only who they are: the modes are left out, and no QEMU is started to ask what the new one can do. */
  readonly quick?: boolean | undefined;
  readonly signal?: AbortSignal | undefined;
  /** Told how many of all are done. */
  readonly onProgress?: ((done: number, all: number) => void) | undefined;
}

/**
 * Every QEMU that runs here, in order of the process ids, those of other users too. What works is said by the checks of
 * {@link preflight}, which changes nothing. A monitor that another client holds is waited for 2 s, and left alone.
 *
 * @throws CprkitError ERR_ABORTED; what is wrong with one VM is in its line
 */
export async function listVms(asked: ListVmsOptions = {}): Promise<ListedVm[]> {
  const options = { ...asked, signal: roomySignal(asked.signal) };
  const found = qemuProcesses();
  const users = userNames();
  // One binary is asked once for all VMs.
  const sharing = {};
  const listed: ListedVm[] = [];
  let [next, done] = [0, 0];
  const work = async () => {
    for (let at = next++; at < found.length; at = next++) {
      const one = found[at] as QemuProcess;
      listed[at] = { pid: one.pid, uid: one.uid, user: users.get(one.uid), ...(await look(one, options, sharing)) };
      options.onProgress?.(++done, found.length);
    }
  };
  // Most of the time is spent waiting for answers.
  await Promise.all(Array.from({ length: Math.min(2 * availableParallelism(), found.length) }, work));
  return listed;
}

const waitMs = 2_000;

async function look(
  { pid, isOurs }: QemuProcess,
  { qemu, quick = false, signal }: ListVmsOptions,
  sharing: object,
): Promise<Omit<ListedVm, "pid" | "uid">> {
  if (!isOurs) {
    const message = "it belongs to another user: run cprkit as that user, or as root";
    return { problem: { code: "ERR_SYSCALL", message } };
  }
  const fds = fdsOf(pid);
  let known: Omit<ListedVm, "pid" | "uid"> = { fds };
  try {
    const vm = await openVm({ pid }, { signal, timeoutMs: waitMs, commandTimeoutMs: 5_000 });
    try {
      const { qmp, qmpPath } = vm;
      const [{ name }, { status }, type] = await Promise.all([
        qmp.execute("query-name"),
        qmp.execute("query-status"),
        qmp.execute("qom-get", { path: "/machine", property: "type" }),
      ]);
      const machine = String(type).replace(/-machine$/, "");
      known = { fds, name, qmp: qmpPath, version: versionText(qmp.greeting.version), machine, runState: status };
      if (quick) return known;
      const { mode, ok, ways, new: next } = await preflightOfOpen(vm, { qemu, signal, sharing, timeoutMs: 10_000 });
      return { ...known, mode: ok ? mode : undefined, ways, new: next };
    } finally {
      await vm.qmp.close();
    }
  } catch (error) {
    if (!isCprkitError(error) || error.code === "ERR_ABORTED") throw error;
    return { ...known, problem: problemOf(error) };
  }
}

function problemOf({ code, message }: CprkitError): NonNullable<ListedVm["problem"]> {
  return { code, message };
}

function fdsOf(pid: number): number | undefined {
  try {
    return readdirSync(`/proc/${pid}/fd`).length;
  } catch {
    return undefined;
  }
}

/** passwd(5). A user of a directory service has only its number. */
function userNames(): ReadonlyMap<number, string> {
  try {
    const lines = readFileSync("/etc/passwd", "utf8").split("\n");
    return new Map(
      lines.flatMap((line) => {
        const [name = "", , uid = ""] = line.split(":");
        return /^\d+$/.test(uid) ? [[Number(uid), name] as const] : [];
      }),
    );
  } catch {
    return new Map();
  }
}
