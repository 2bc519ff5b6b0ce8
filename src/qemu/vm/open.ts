// A running QEMU with an open QMP monitor.

import { isSameProcess, nameOfPeer, type ProcessIdentity } from "../../linux/index.ts";
import { statFile } from "../../linux/process/stat-file.ts";
import { CprkitError, isCprkitError } from "../../vmstate/error.ts";
import { qmpSocketPaths } from "../command-line/monitors.ts";
import type { CommandOption } from "../command-line/parse.ts";
import { withPaths } from "../handover/sockets.ts";
import { inside, outside, realPath } from "../namespaces/paths.ts";
import { type ConnectQmpOptions, connectQmp, type Qmp } from "../qmp/client.ts";
import { answererOf, isAnsweredBy } from "./answerer.ts";
import { readOwnOptions } from "./own-options.ts";
import { readVmProcess, type VmProcess } from "./process.ts";

/** Which VM is meant: by the path of a QMP socket, or by the process. With both, the process must serve that socket. */
export interface VmTarget {
  readonly qmp?: string | undefined;
  readonly pid?: number | undefined;
}

/** How long to wait for the monitor, and for what it is asked afterwards. */
export type OpenVmOptions = Pick<ConnectQmpOptions, "signal" | "timeoutMs" | "commandTimeoutMs">;

/** A running VM with an open monitor. */
export interface OpenVm {
  readonly process: VmProcess;
  readonly qmp: Qmp;
  /** Absolute path of the socket that `qmp` is connected to, as QEMU made it and this process gets there. */
  readonly qmpPath: string;
  /** What QEMU calls it: the same, but in a mount namespace of its own. */
  readonly qmpInside: string;
  /** Its command line, taken apart once it is asked for. */
  options(): Promise<readonly CommandOption[]>;
}

/**
 * Finds the process and connects to its monitor: the socket that was named, else the first on its command line that
 * nobody else holds.
 *
 * @throws CprkitError ERR_USAGE without a target; ERR_UPDATE_REFUSED when the process serves no QMP on a UNIX socket;
 * as `connectQmp` when no monitor can be had.
 */
export async function openVm(target: VmTarget, wait: OpenVmOptions = {}): Promise<OpenVm> {
  if (target.qmp !== undefined) {
    const qmpPath = realPath(target.qmp);
    const qmp = await connectQmp(qmpPath, wait);
    try {
      const answers = answererOf(qmp);
      const pid = answers?.pid ?? qmp.peer.pid;
      if (target.pid !== undefined && target.pid !== pid) {
        const text = `${target.qmp} is served by process ${pid}, not by ${target.pid}`;
        throw new CprkitError("ERR_USAGE", `${text}: give one of --qmp and --pid, or the right ones`);
      }
      const process = readServer(qmp, answers, qmpPath);
      let asked: Promise<readonly CommandOption[]> | undefined;
      const options = () => {
        asked ??= readOwnOptions(process, wait);
        return asked;
      };
      const qmpInside = process.root === "" ? qmpPath : nameInside(process, qmpPath, await options());
      return { process, qmp, qmpPath, qmpInside, options };
    } catch (error) {
      await qmp.close();
      throw error;
    }
  }
  if (target.pid === undefined) {
    throw new CprkitError("ERR_USAGE", "no VM named: give the path of its QMP socket, or its process id");
  }
  const process = readVmProcess(target.pid);
  const options = await readOwnOptions(process, wait);
  const paths = qmpSocketPaths(withPaths(options, target.pid, process.cwd), process.cwd);
  if (paths.length === 0) {
    throw new CprkitError(
      "ERR_UPDATE_REFUSED",
      `process ${target.pid} has no QMP monitor on a UNIX socket on its command line; cprkit needs one of its own: ` +
        "start QEMU with -qmp unix:PATH,server=on,wait=off (or add a monitor with chardev-add at run time, then --qmp)",
    );
  }
  let failure: unknown;
  for (const qmpInside of paths) {
    const qmpPath = outside(process, qmpInside);
    try {
      const qmp = await connectQmp(qmpPath, wait);
      if (isAnsweredBy(qmp, process.identity)) {
        return { process, qmp, qmpPath, qmpInside, options: async () => options };
      }
      await qmp.close();
      failure = servedByOther(qmp, qmpPath, process.identity);
    } catch (error) {
      if (!isCprkitError(error) || error.code === "ERR_ABORTED") throw error;
      failure = error;
    }
  }
  throw failure;
}

/** What /proc says of the process behind a monitor; all of it of that process, which is held meanwhile. */
function readServer({ server }: Qmp, answers: ProcessIdentity | undefined, qmpPath: string): VmProcess {
  if (answers === undefined) {
    const who = nameOfPeer(server);
    throw new CprkitError("ERR_QMP", `${qmpPath} is served by ${who}: cprkit must run where it can see QEMU's process`);
  }
  const process = readVmProcess(answers.pid);
  if (isSameProcess(answers) && process.identity.startTime === answers.startTime) return process;
  throw new CprkitError("ERR_QEMU_EXITED", `${qmpPath}: process ${answers.pid} has ended while it was looked at`);
}

/** For a monitor behind which another process is than the one that is meant. */
export function servedByOther({ server }: Qmp, qmpPath: string, { pid }: ProcessIdentity): CprkitError {
  return new CprkitError("ERR_QMP", `${qmpPath} is served by ${nameOfPeer(server)}, not by ${pid}`);
}

/** Which of the sockets on its command line it is; one that was added since is called as it is from here. */
function nameInside(process: VmProcess, qmpPath: string, options: readonly CommandOption[]): string {
  const here = statFile(qmpPath);
  const names = qmpSocketPaths(withPaths(options, process.identity.pid, process.cwd), process.cwd);
  const isIt = (name: string) => {
    const there = statFile(outside(process, name));
    return there !== undefined && there.ino === here?.ino && there.dev === here.dev;
  };
  return names.find(isIt) ?? inside(process, qmpPath) ?? qmpPath;
}
