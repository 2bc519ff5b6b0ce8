// Asks a QEMU binary what it can do: it is started once, for a moment, with a machine that has nothing in it.

import type { ChildProcess } from "node:child_process";
import { closeFd, socketPair, type WaitOptions } from "../../linux/index.ts";
import type { ProgramFile } from "../../linux/process/program-file.ts";
import { CprkitError } from "../../vmstate/error.ts";
import { connectQmp, type Qmp } from "../qmp/client.ts";
import { qomProperties } from "../qmp/qom.ts";
import { machinesOf, type QemuAbilities } from "./binary.ts";
import { spawnLike, startLike } from "./launcher.ts";
import { askModes } from "./modes.ts";
import { endStrayProbes, withProbeMark } from "./probe-mark.ts";
import { programOf, readVmProcess, type VmProcess } from "./process.ts";

/** What a QEMU binary has, modules included: QEMU loads them all to answer (QEMU 10.0 qom/qom-qmp-cmds.c). */
export interface BinaryAnswer {
  readonly abilities: QemuAbilities;
  /** What was started in the end: of a wrapper script the QEMU. Undefined where it may not be looked at. */
  readonly program: ProgramFile | undefined;
  /** Its machines have the property aux-ram-share, which CPR needs. */
  readonly auxRamShare: boolean;
  /** Device models, by their QOM names. */
  readonly devices: ReadonlySet<string>;
  /** Types for -object. */
  readonly objects: ReadonlySet<string>;
  /** Names for -accel, such as "kvm". */
  readonly accelerators: ReadonlySet<string>;
}

/**
 * Starts the binary with an empty machine, asks it, and ends it.
 *
 * @param command the program and the words before QEMU's own options
 * @param options `like`: whose rights, umask and folder it gets (default: those of this process)
 * @throws CprkitError ERR_QEMU_NOT_FOUND if it can't be started, ERR_QEMU_EXITED if it ends by itself (with what it
 * printed), ERR_TIMEOUT if it does not answer within `timeoutMs` (default 10 s), ERR_ABORTED, ERR_QMP.
 */
export async function probeBinary(
  command: readonly string[],
  options: WaitOptions & { readonly like?: VmProcess; readonly env?: Readonly<Record<string, string>> } = {},
): Promise<BinaryAnswer> {
  const { timeoutMs = 10_000, signal, like = readVmProcess(process.pid), env = process.env } = options;
  const [program = ""] = command;
  const empty = ["-machine", "none", "-nodefaults", "-no-user-config", "-display", "none"];
  const words = [...command, ...empty, "-chardev", "socket,id=m,fd=3", "-qmp", "chardev:m"];
  const start = startLike(like, { words, env: withProbeMark(env), endsWithUs: true });
  const [ours, theirs] = socketPair();
  let child: ChildProcess;
  try {
    child = spawnLike(start, { stdio: ["ignore", "pipe", "pipe", theirs] });
  } catch (cause) {
    // Some refusals come at once: an empty name, a command line that is too long.
    closeFd(ours);
    throw cannotStart(program, cause);
  } finally {
    closeFd(theirs);
    start.close();
  }
  let output = "";
  for (const stream of [child.stdout, child.stderr]) {
    stream?.setEncoding("utf8").on("data", (text: string) => {
      if (output.length < 4096) output += text;
    });
  }
  let failed: Error | undefined;
  const ended = (event: "exit" | "close") =>
    new Promise<void>((resolve) => {
      child.once("error", (error) => {
        failed = error;
        resolve();
      });
      child.once(event, () => resolve());
    });
  // A wrapper that was killed may leave its program behind, which holds the output open: "close" may never come.
  const [exited, closed] = [ended("exit"), ended("close")];
  let qmp: Qmp | undefined;
  try {
    // It takes a while until this one answers.
    endStrayProbes();
    qmp = await connectQmp({ fd: ours }, { timeoutMs, signal, commandTimeoutMs: timeoutMs });
    const [modes, machine, machines, devices, objects, accelerators] = await Promise.all([
      askModes(qmp, undefined),
      qomProperties(qmp, "/machine", ["aux-ram-share"]),
      machinesOf(qmp),
      typesOf(qmp, "device"),
      typesOf(qmp, "user-creatable"),
      typesOf(qmp, "accel"),
    ]);
    const abilities = { version: qmp.greeting.version, modes: [...modes.keys()], machines };
    const auxRamShare = machine["aux-ram-share"] !== undefined;
    const file = fileOf(child);
    const names = new Set([...accelerators].map(acceleratorOf));
    return { program: file, abilities, auxRamShare, devices, objects, accelerators: names };
  } catch (error) {
    // Give what it printed, or the refusal to start it, the time to arrive.
    await Promise.race([closed, new Promise((resolve) => setTimeout(resolve, 200))]);
    if (failed !== undefined) throw cannotStart(program, failed);
    // Ctrl-C reaches the program, too, and its end is often seen first.
    if (signal?.aborted === true) {
      throw new CprkitError("ERR_ABORTED", `aborted while asking ${program} what it can do`, { cause: error });
    }
    const said = output.trim();
    const how = child.exitCode === null ? "gave no usable answer" : `ended at once with status ${child.exitCode}`;
    const code = error instanceof CprkitError ? error.code : "ERR_QMP";
    const text = `${program}, asked what it can do, ${how}${said === "" ? "" : `: ${said}`}`;
    throw new CprkitError(code, `${text}. Is it a QEMU system emulator that runs on this machine?`, { cause: error });
  } finally {
    await qmp?.close();
    if (child.exitCode === null && child.signalCode === null && child.pid !== undefined) child.kill("SIGKILL");
    await exited;
    for (const stream of [child.stdout, child.stderr]) stream?.destroy();
  }
}

function cannotStart(program: string, cause: unknown): CprkitError {
  return new CprkitError(
    "ERR_QEMU_NOT_FOUND",
    `${program === "" ? '""' : program} can't be started: ${whyNotStarted(cause)}`,
    { cause },
  );
}

function whyNotStarted(cause: unknown): string {
  if (!(cause instanceof Error)) return String(cause);
  const code = "code" in cause ? cause.code : undefined;
  if (code === "ENOENT") return "there is no such program, or the loader or script that it names is missing (ENOENT)";
  if (code === "EACCES") return "it is not executable for this user, or a folder (EACCES)";
  return cause.message;
}

function fileOf({ pid = 0 }: ChildProcess): ProgramFile | undefined {
  try {
    return programOf(pid);
  } catch {
    return undefined;
  }
}

async function typesOf(qmp: Qmp, kind: string): Promise<Set<string>> {
  return new Set((await qmp.execute("qom-list-types", { implements: kind, abstract: false })).map(({ name }) => name));
}

/** "kvm" for "kvm-accel". */
function acceleratorOf(type: string): string {
  return type.replace(/-accel$/, "");
}
