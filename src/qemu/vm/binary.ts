// What a QEMU binary says of itself: version, machine types, the CPR modes that its QMP schema offers. Asked of a
// machine without anything in it, or of a running one.

import { type ChildProcess, spawn } from "node:child_process";
import type { z } from "zod";
import { closeFd, closeFds, socketPair, type WaitOptions } from "../../linux/index.ts";
import { CprkitError } from "../../vmstate/error.ts";
import { connectQmp, type Qmp } from "../qmp/client.ts";
import type { qmpReturns } from "../qmp/schema.ts";
import { endStrayProbes, withProbeMark } from "./probe-mark.ts";

/** QEMU's names of the CPR modes. */
export const cprModes = ["cpr-transfer", "cpr-exec", "cpr-reboot"] as const;
export type CprModeName = (typeof cprModes)[number];

export interface QemuVersionInfo {
  readonly major: number;
  readonly minor: number;
  readonly micro: number;
  /** The packager's text; may be "". */
  readonly package: string;
}

export interface MachineType {
  readonly name: string;
  /** The short name that means this type in this QEMU, such as "q35". */
  readonly alias?: string | undefined;
  readonly isDefault: boolean;
}

/** What a QEMU can do, by its own words. */
export interface QemuAbilities {
  readonly version: QemuVersionInfo;
  /** The CPR modes that it knows; cpr-exec only where it also takes a command for it. */
  readonly modes: readonly CprModeName[];
  readonly machines: readonly MachineType[];
  /** Whether `migrate-incoming` takes "exit-on-error". */
  readonly exitOnError: boolean;
}

/**
 * Starts the binary with an empty machine, asks it, and ends it.
 *
 * @param command the program and the words before QEMU's own options
 * @throws CprkitError ERR_QEMU_NOT_FOUND if it can't be started, ERR_QEMU_EXITED if it ends by itself (with what it
 * printed), ERR_TIMEOUT if it does not answer within `timeoutMs` (default 10 s), ERR_ABORTED, ERR_QMP.
 */
export async function probeBinary(
  command: readonly string[],
  options: WaitOptions & { readonly cwd?: string; readonly env?: Readonly<Record<string, string>> } = {},
): Promise<QemuAbilities> {
  const { timeoutMs = 10_000, signal, cwd, env } = options;
  const [program = "", ...words] = command;
  endStrayProbes();
  const [ours, theirs] = socketPair();
  const empty = ["-machine", "none", "-nodefaults", "-no-user-config", "-display", "none"];
  let child: ChildProcess;
  try {
    child = spawn(program, [...words, ...empty, "-chardev", "socket,id=m,fd=3", "-qmp", "chardev:m"], {
      stdio: ["ignore", "pipe", "pipe", theirs],
      ...(cwd === undefined ? {} : { cwd }),
      env: withProbeMark(env ?? process.env),
    });
  } catch (cause) {
    // Some refusals come at once: an empty name, a command line that is too long.
    closeFds([ours, theirs]);
    throw cannotStart(program, cause);
  }
  closeFd(theirs);
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
  // Of a wrapper that was killed, the program beside it may hold the output open: "close" may never come.
  const [exited, closed] = [ended("exit"), ended("close")];
  let qmp: Qmp | undefined;
  try {
    qmp = await connectQmp({ fd: ours }, { timeoutMs, signal, commandTimeoutMs: timeoutMs });
    const abilities = await abilitiesOf(qmp);
    await qmp.execute("quit").catch(() => undefined);
    return abilities;
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

/** Asks a QEMU over its monitor. @throws CprkitError as `Qmp.execute` */
export async function abilitiesOf(qmp: Qmp): Promise<QemuAbilities> {
  const [schema, machines] = await Promise.all([qmp.execute("query-qmp-schema"), qmp.execute("query-machines")]);
  const argumentsOf = membersOfCommand(schema);
  const parameters = argumentsOf("migrate-set-parameters");
  const mode = parameters.find(({ name }) => name === "mode");
  const known = schema.find(({ name }) => name === mode?.type)?.values ?? [];
  const takesCommand = parameters.some(({ name }) => name === "cpr-exec-command");
  return {
    version: qmp.greeting.version,
    modes: cprModes.filter((each) => known.includes(each) && (each !== "cpr-exec" || takesCommand)),
    machines: machines.map((machine) => ({
      name: machine.name,
      alias: machine.alias,
      isDefault: machine["is-default"] === true,
    })),
    exitOnError: argumentsOf("migrate-incoming").some(({ name }) => name === "exit-on-error"),
  };
}

type Schema = z.infer<(typeof qmpReturns)["query-qmp-schema"]>;

function membersOfCommand(schema: Schema): (command: string) => readonly { name?: string; type?: string }[] {
  return (command) => {
    const type = schema.find((entry) => entry["meta-type"] === "command" && entry.name === command)?.["arg-type"];
    return (schema.find(({ name }) => name === type)?.members ?? []).map(({ name, type: of }) => ({
      ...(name === undefined ? {} : { name }),
      ...(of === undefined ? {} : { type: of }),
    }));
  };
}

/** The type that a name means in a QEMU: resolves an alias, and for undefined takes the default. */
export function resolveMachine(machines: readonly MachineType[], asked: string | undefined): string | undefined {
  if (asked === undefined) return machines.find(({ isDefault }) => isDefault)?.name;
  return machines.find(({ name, alias }) => name === asked || alias === asked)?.name;
}

/** Negative when `a` is older than `b`, by major and minor: the micro version changes no format. */
export function compareVersions(a: QemuVersionInfo, b: QemuVersionInfo): number {
  return a.major - b.major || a.minor - b.minor;
}

/** "10.0.2". */
export function versionText({ major, minor, micro }: QemuVersionInfo): `${number}.${number}.${number}` {
  return `${major}.${minor}.${micro}`;
}
