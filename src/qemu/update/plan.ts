// Looks at the running VM and at the new binary, chooses the mode, derives the new command line, and collects what is
// in the way. Changes nothing.

import { setMaxListeners } from "node:events";
import { accessSync, constants, existsSync, readFileSync, statfsSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import type { QemuVersion } from "../../cpr/index.ts";
import { CprkitError } from "../../vmstate/error.ts";
import {
  type Derived,
  deriveCommandLine,
  type Finding,
  type MovedName,
  machineOf,
  prefixOf,
  publicName,
} from "../command-line/derive.ts";
import { qmpSocketPaths } from "../command-line/monitors.ts";
import { type CommandOption, getValue, isOn, parseKeyValues, parseOptions } from "../command-line/parse.ts";
import { systemdFinding } from "../preflight/checks/systemd.ts";
import { preflight } from "../preflight/preflight.ts";
import {
  abilitiesOf,
  type CprModeName,
  compareVersions,
  probeBinary,
  type QemuAbilities,
  resolveMachine,
  versionText,
} from "../vm/binary.ts";
import { type NewQemuCommand, newQemuCommand, programWords } from "../vm/new-qemu.ts";
import { type OpenVm, openVm, type VmProcess } from "../vm/process.ts";
import type { UpdateOptions, UpdatePlan } from "./options.ts";
import { stateBase, vmFolder } from "./record/state-dir.ts";

/** A plan with all that carrying it out needs. */
export interface Prepared {
  readonly plan: UpdatePlan;
  readonly vm: OpenVm;
  readonly old: QemuAbilities;
  readonly next: QemuAbilities;
  /** The guest's run state, such as "running". */
  readonly runState: string;
  readonly moved: readonly MovedName[];
  readonly env: Readonly<Record<string, string>>;
  /** Words before the program that give it the old one's cgroup and limits. */
  readonly launcher: readonly string[];
  /** Absolute paths of the destination's QMP socket and of the one that people use. */
  readonly destinationQmp: string;
  readonly publicQmp: string;
  readonly forVersion: QemuVersion | undefined;
  /** The folder of this VM's journal. */
  readonly folder: string;
  readonly vfio: boolean;
  /** cpr-exec: the new command with names of its own, for a try beside the running QEMU; undefined if that can't be. */
  readonly rehearsal: Rehearsal | undefined;
}

interface Rehearsal {
  readonly command: readonly string[];
  readonly qmp: string;
  readonly moved: readonly MovedName[];
}

/** Holds the monitor of the VM in `vm` and looks further. Closes nothing. @throws CprkitError see updateVm */
export async function prepare(vm: OpenVm, options: UpdateOptions): Promise<Prepared> {
  const { process: running, qmp } = vm;
  const { signal } = options;
  const [status, old] = await Promise.all([qmp.execute("query-status", undefined, { signal }), abilitiesOf(qmp)]);

  const args = running.argv.slice(programWords(running).length);
  const own = parseOptions(args);
  const { words: program, env } = newProgram(options, running);
  const next = await probeBinary(program, { signal, cwd: running.cwd, env, timeoutMs: options.timeoutMs ?? 60_000 });
  const mode = chooseMode(options.mode, old, next);
  const machine = resolveMachine(old.machines, machineOf(own));
  const how = {
    cwd: running.cwd,
    machine,
    oldPrefix: options.qemu === undefined ? undefined : prefixOf(running.program),
  };
  const derived = command(options, own, { ...how, sideBySide: mode !== "cpr-exec" });
  const newCommand = options.command ?? [...program, ...derived.args];
  const findings = await lookAhead(vm, options, mode);
  const { launcher, finding } = launcherFor(running);
  if (mode !== "cpr-exec") {
    const unit = systemdFinding(running.cgroup, running.identity.pid);
    findings.push(...[finding, unit].filter((each) => each !== undefined));
  }

  const serves = qmpSocketPaths(parseOptions(newCommand.slice(1)), running.cwd);
  const destinationQmp = derived.moved.find((name) => name.old === vm.qmpPath)?.new ?? serves[0];
  if (destinationQmp === undefined) {
    findings.push(
      blocker(
        "no-qmp",
        "the new command line has no QMP monitor on a UNIX socket: the update can't be watched",
        "add -qmp unix:PATH,server=on,wait=off to it, with a PATH of its own",
      ),
    );
  }
  const publicQmp = publicName(vm.qmpPath);
  const base = stateBase(options.stateDir, publicQmp) ?? join(dirname(publicQmp), ".cprkit");
  const folder = vmFolder(base, publicQmp);
  if (mode === "cpr-reboot") findings.push(...roomFindings(own, base));
  const forVersion = compareVersions(next.version, old.version) < 0 ? versionText(next.version) : undefined;
  return {
    plan: {
      mode,
      from: versionText(old.version),
      to: versionText(next.version),
      pid: running.identity.pid,
      qmp: publicQmp,
      command: newCommand,
      forVersion: mode === "cpr-transfer" ? forVersion : undefined,
      findings: allowed(findings, options.allow ?? []),
    },
    vm,
    old,
    next,
    runState: status.status,
    moved: derived.moved,
    env,
    launcher,
    destinationQmp: destinationQmp ?? "",
    publicQmp,
    forVersion: mode === "cpr-transfer" ? forVersion : undefined,
    folder,
    vfio: args.some((word) => word.includes("vfio")),
    rehearsal: mode === "cpr-exec" ? rehearsalOf(options, vm, program, deriveCommandLine(own, how)) : undefined,
  };
}

/** What preflight says; of a command that was given whole, not what it would have derived. */
async function lookAhead(vm: OpenVm, options: UpdateOptions, mode: CprModeName): Promise<Finding[]> {
  const { signal, timeoutMs, command: given } = options;
  const { findings } = await preflight(vm, { qemu: given?.[0] ?? options.qemu, mode, signal, timeoutMs });
  // The derived command line has the type with its version.
  return findings.filter(({ code }) => (given === undefined ? code !== "machine-alias" : !ofDerivedCommand.has(code)));
}

const ofDerivedCommand = new Set([
  "device-hotplugged",
  "device-unplugged",
  "fd-option",
  "port-taken",
  "stdio",
  "file-missing",
  "file-emptied",
  "disk-changed",
  "snapshot",
  "readconfig",
  "socket-path",
  "socket-folder",
]);

function rehearsalOf(
  { command: given }: UpdateOptions,
  { qmpPath }: OpenVm,
  program: readonly string[],
  { args, moved, findings }: Derived,
): Rehearsal | undefined {
  const qmp = moved.find(({ old }) => old === qmpPath)?.new;
  const impossible = given !== undefined || findings.some(({ severity }) => severity === "blocker");
  return impossible || qmp === undefined ? undefined : { command: [...program, ...args], qmp, moved };
}

/**
 * What `updateVm` would do: the new command line, the mode, and what is in the way. Nothing is changed.
 *
 * @throws CprkitError as {@link updateVm} before it changes anything.
 */
export async function planUpdate(asked: UpdateOptions): Promise<UpdatePlan> {
  const options = { ...asked, signal: roomySignal(asked.signal) };
  const vm = await openVm(options.target, { signal: options.signal });
  try {
    return (await prepare(vm, options)).plan;
  } finally {
    await vm.qmp.close();
  }
}

/** The same signal for many questions at once: Node warns of a leak at the eleventh listener. */
export function roomySignal(signal: AbortSignal | undefined): AbortSignal | undefined {
  if (signal === undefined) return undefined;
  const own = AbortSignal.any([signal]);
  setMaxListeners(0, own);
  return own;
}

/** @throws CprkitError ERR_UPDATE_REFUSED naming every blocker with its remedy. */
export function refuseBlocked(findings: readonly Finding[]): void {
  const blockers = findings.filter(({ severity }) => severity === "blocker");
  if (blockers.length === 0) return;
  const text = blockers.map(({ code, message, remedy }) => `[${code}] ${message}; ${remedy}`).join(". ");
  throw new CprkitError("ERR_UPDATE_REFUSED", `this VM can't be updated like this; nothing was changed. ${text}`);
}

function command(
  options: UpdateOptions,
  own: readonly CommandOption[],
  how: Parameters<typeof deriveCommandLine>[1],
): Derived {
  if (options.command === undefined) return deriveCommandLine(own, how);
  if (options.command.includes("-incoming")) {
    throw new CprkitError("ERR_USAGE", "the command after -- must not have -incoming: cprkit adds its own");
  }
  return { args: [], moved: [], findings: [] };
}

/** How to start the new QEMU. Throws ERR_QEMU_NOT_FOUND if that is the running one's program, and it has gone. */
function newProgram(options: UpdateOptions, running: VmProcess): NewQemuCommand {
  const asked = options.command?.[0] ?? options.qemu;
  const command = newQemuCommand(running, asked);
  if (asked === undefined && !existsSync(command.words[0])) {
    const text = `the program of process ${running.identity.pid}, ${command.words[0]}, is not there any more`;
    throw new CprkitError("ERR_QEMU_NOT_FOUND", `${text}: name the new one with --qemu`);
  }
  return command;
}

function chooseMode(asked: CprModeName | undefined, old: QemuAbilities, next: QemuAbilities): CprModeName {
  const both = old.modes.filter((mode) => next.modes.includes(mode));
  const [best] = both.filter((mode) => mode !== "cpr-reboot");
  const mode = asked ?? best;
  if (mode !== undefined && both.includes(mode)) return mode;
  const say = (qemu: QemuAbilities) => `${versionText(qemu.version)} has ${qemu.modes.join(", ") || "none"}`;
  throw new CprkitError(
    "ERR_UPDATE_REFUSED",
    `${asked ?? "cpr-transfer"} needs both QEMUs to know it: the running ${say(old)}; the new ${say(next)}`,
  );
}

/** cpr-reboot copies what is not in a named shared file. */
function roomFindings(own: readonly CommandOption[], base: string): Finding[] {
  const backends = own.filter(({ name, value }) => name === "object" && /^memory-backend-/.test(value ?? ""));
  const copied = backends.filter(({ value = "" }) => {
    const parts = parseKeyValues(value);
    return !(value.startsWith("memory-backend-file") && isOn(parts, "share"));
  });
  if (copied.length === 0 && backends.length > 0) return [];
  let bytes = 0;
  for (const { value = "" } of copied) bytes += sizeOf(getValue(parseKeyValues(value), "size") ?? "");
  const room = statfsSync(existing(base));
  const free = room.bavail * room.bsize;
  if (free >= bytes) return [];
  const text = `${base} has ${free} bytes free, the guest's RAM takes up to ${bytes}`;
  return [blocker("no-room", text, "name a larger place with --state-dir")];
}

function sizeOf(text: string): number {
  const [, number = "0", unit = "M"] = /^([\d.]+)([kKMGTbB]?)/.exec(text) ?? [];
  const powers: Readonly<Record<string, number>> = { b: 0, B: 0, k: 1, K: 1, M: 2, G: 3, T: 4 };
  return Number(number) * 1024 ** (powers[unit === "" ? "b" : unit] ?? 2);
}

function existing(folder: string): string {
  let at = resolve(folder);
  while (!existsSync(at)) at = dirname(at);
  return at;
}

/** prlimit(1)'s names of the kernel's limits. */
const limitOptions: Readonly<Record<string, string>> = {
  "Max cpu time": "cpu",
  "Max file size": "fsize",
  "Max data size": "data",
  "Max stack size": "stack",
  "Max core file size": "core",
  "Max resident set": "rss",
  "Max processes": "nproc",
  "Max open files": "nofile",
  "Max locked memory": "memlock",
  "Max address space": "as",
  "Max file locks": "locks",
  "Max pending signals": "sigpending",
  "Max msgqueue size": "msgqueue",
  "Max nice priority": "nice",
  "Max realtime priority": "rtprio",
  "Max realtime timeout": "rttime",
};

function launcherFor(running: VmProcess): { readonly launcher: readonly string[]; readonly finding?: Finding } {
  const value = (limit: number) => (Number.isFinite(limit) ? String(limit) : "unlimited");
  // Every limit: what this process has is not what QEMU has (Node raises its own number of open files).
  const limits = [...running.limits].flatMap(([name, { soft, hard }]) => {
    const option = limitOptions[name];
    return option === undefined ? [] : [`--${option}=${value(soft)}:${value(hard)}`];
  });
  const launcher = ["prlimit", ...limits, "--"];
  const own = /^0::(.*)$/m.exec(readFileSync("/proc/self/cgroup", "utf8"))?.[1];
  if (running.cgroup === undefined || running.cgroup === own) return { launcher };
  const file = join("/sys/fs/cgroup", running.cgroup, "cgroup.procs");
  try {
    accessSync(file, constants.W_OK);
  } catch {
    return {
      launcher,
      finding: blocker(
        "cgroup",
        `QEMU is in the cgroup ${running.cgroup}, which cprkit may not put a process into`,
        "run cprkit in the same unit (systemd-run --slice, or as root), or allow this with --allow cgroup",
      ),
    };
  }
  return { launcher: ["/bin/sh", "-c", 'echo $$ > "$0" && exec "$@"', file, ...launcher] };
}

function allowed(findings: readonly Finding[], codes: readonly string[]): Finding[] {
  return findings.map((finding) => (codes.includes(finding.code) ? { ...finding, severity: "warning" } : finding));
}

function blocker(code: string, message: string, remedy: string): Finding {
  return { code, severity: "blocker", message, remedy };
}
