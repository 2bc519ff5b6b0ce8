// What an update would do, by what preflight has found: the new command line, the mode, and what is in the way. Changes
// nothing.

import { basename, dirname, join } from "node:path";
import type { QemuVersion } from "../../cpr/index.ts";
import type { ProgramFile } from "../../linux/process/program-file.ts";
import { roomySignal } from "../../linux/wait/roomy-signal.ts";
import { CprkitError } from "../../vmstate/error.ts";
import type { CarryPlan } from "../carry/subject.ts";
import { type MovedName, publicName } from "../command-line/derive.ts";
import { type Finding, isBlocker } from "../finding.ts";
import { type Handed, handedInWords } from "../handover/desk.ts";
import type { Reading } from "../machine/read.ts";
import type { Machine } from "../machine/schema.ts";
import { isRamInFiles } from "../preflight/checks/memory.ts";
import { deriveFor, type Facts } from "../preflight/facts.ts";
import { examine } from "../preflight/preflight.ts";
import { compareVersions, type QemuAbilities, versionText } from "../vm/binary.ts";
import { type OpenVm, openVm, type VmTarget } from "../vm/open.ts";
import { vmFolder } from "../vm/state-dir.ts";
import { type LeftOut, withoutExclusive } from "./modes/exclusive.ts";
import type { UpdateOptions, UpdatePlan } from "./options.ts";

/** A plan with all that carrying it out needs. */
export interface Prepared {
  readonly plan: UpdatePlan;
  readonly vm: OpenVm;
  readonly old: QemuAbilities;
  readonly next: QemuAbilities;
  /** What the new QEMU's command runs in the end; undefined where it may not be looked at. */
  readonly nextProgram: ProgramFile | undefined;
  /** The guest's run state, such as "running". */
  readonly runState: string;
  /** The same, with what need not be asked again of the old QEMU. */
  readonly reading: Reading;
  /** As it was when the update was planned, without the board's own properties. */
  readonly machine: Machine;
  /** Mode copy: all guest RAM is in named shared files, which stay where they are. */
  readonly ramInFiles: boolean;
  readonly settings: Facts["settings"];
  readonly carry: CarryPlan;
  readonly moved: readonly MovedName[];
  /** The fds of the running QEMU that the new one gets. */
  readonly handed: readonly Handed[];
  readonly env: Readonly<Record<string, string>>;
  /** Words before the program that give it the old one's cgroup and limits. */
  readonly launcher: readonly string[];
  /** Absolute paths of the destination's QMP socket and of the one that people use. */
  readonly destinationQmp: string | undefined;
  readonly publicQmp: string;
  readonly forVersion: QemuVersion | undefined;
  /** The folder of this VM's journal. */
  readonly folder: string;
  readonly vfio: boolean;
  /** cpr-exec: the new command with names of its own, for a trial while the old QEMU runs; undefined if it can't be. */
  readonly rehearsal: Rehearsal | undefined;
}

interface Rehearsal {
  readonly command: readonly string[];
  readonly qmp: string;
  readonly moved: readonly MovedName[];
  readonly handed: readonly Handed[];
  /** Devices that only one process can open, and which the trial does without. */
  readonly leftOut: readonly LeftOut[];
}

/** Holds the monitor of the VM in `vm` and looks further. Closes nothing. @throws CprkitError see updateVm */
export async function prepare(vm: OpenVm, options: UpdateOptions): Promise<Prepared> {
  const { facts, findings, ways } = await examine(vm, { ...options, timeoutMs: options.timeoutMs ?? 60_000 });
  const { mode, next, abilities: old, command } = facts;
  if ("error" in next.said) throw next.said.error;
  const { abilities } = next.said;
  const publicQmp = publicName(vm.qmpPath);
  const isBack = mode === "cpr-transfer" && compareVersions(abilities.version, old.version) < 0;
  const forVersion = isBack ? versionText(abilities.version) : undefined;
  return {
    plan: {
      mode,
      from: versionText(old.version),
      to: versionText(abilities.version),
      pid: vm.process.identity.pid,
      qmp: publicQmp,
      command,
      forVersion,
      findings: allowed(findings, options),
      carried: [...facts.carry.carried, ...handedInWords(facts.derived.handed)],
      ways,
    },
    vm,
    old,
    next: abilities,
    nextProgram: next.said.program,
    runState: facts.runState,
    machine: facts.runs,
    reading: facts.reading,
    ramInFiles: isRamInFiles(facts),
    settings: facts.settings,
    carry: facts.carry,
    moved: facts.derived.moved,
    handed: facts.derived.handed,
    env: next.env,
    launcher: facts.launcher.words,
    destinationQmp: isHanded(facts, vm) ? undefined : (facts.newQmp ?? ""),
    publicQmp,
    forVersion,
    folder: vmFolder(facts.stateFolder.path, publicQmp),
    vfio: facts.devices.some(({ type }) => type.startsWith("vfio-")),
    rehearsal: mode === "cpr-exec" ? rehearsalOf(facts, vm, options) : undefined,
  };
}

/** The monitor that people use is the new QEMU's only in the end: until then cprkit has one of its own there. */
function isHanded({ derived }: Facts, { qmpInside }: OpenVm): boolean {
  return derived.handed.some(({ what }) => what === `unix ${qmpInside}`);
}

/**
 * Beside the running QEMU the names that it holds must be others, so the command line is derived for that, too; and it goes
 * without what can be opened once.
 */
function rehearsalOf(facts: Facts, { qmpPath, qmpInside }: OpenVm, options: UpdateOptions): Rehearsal | undefined {
  const { process, machine, next, memoryFiles, generationId, carry, takable: held } = facts;
  const how = { machine, sideBySide: true, memoryFiles, generationId, held, sockets: false };
  const { kept, leftOut } = withoutExclusive(carry.options);
  const { args, moved, handed, findings } = deriveFor(process, kept, options, how);
  const name = moved.find(({ old }) => old === qmpInside)?.new;
  if (name === undefined || findings.some(isBlocker)) return undefined;
  return { command: [...next.words, ...args], qmp: join(dirname(qmpPath), basename(name)), moved, handed, leftOut };
}

/**
 * What was allowed is a warning; of an alias there is nothing to say, the derived command line has the full name, nor of a
 * password that was given.
 */
function allowed(findings: readonly Finding[], { allow: codes = [], passwords = {} }: UpdateOptions): Finding[] {
  const given = Object.entries(passwords).flatMap(([protocol, text]) => (text === undefined ? [] : protocol));
  return findings.flatMap((finding) => {
    if (finding.code === "machine-alias") return [];
    if (finding.code === "password" && given.includes(finding.subject ?? "")) return [];
    return codes.includes(finding.code) ? { ...finding, severity: "warning" } : finding;
  });
}

/**
 * What `updateVm` would do: the new command line, the mode, and what is in the way. Nothing is changed.
 *
 * @throws CprkitError as {@link updateVm} before it changes anything.
 */
export async function planUpdate(target: VmTarget, asked: UpdateOptions = {}): Promise<UpdatePlan> {
  const options = { ...asked, signal: roomySignal(asked.signal) };
  const vm = await openVm(target, { signal: options.signal, commandTimeoutMs: options.timeoutMs });
  try {
    return (await prepare(vm, options)).plan;
  } finally {
    await vm.qmp.close();
  }
}

/** @throws CprkitError ERR_UPDATE_REFUSED naming every blocker with its remedy. */
export function refuseBlocked({ findings, ways }: UpdatePlan): void {
  const blockers = findings.filter(isBlocker);
  if (blockers.length === 0) return;
  const text = blockers.map(({ code, message, remedy }) => `[${code}] ${message}; ${remedy}`).join(". ");
  const others = ways.filter(({ ok }) => ok).map(({ mode }) => `--mode ${mode}`);
  const way = others.length === 0 ? "" : `. It can be updated with ${others.join(" or ")}`;
  throw new CprkitError("ERR_UPDATE_REFUSED", `this VM can't be updated like this; nothing was changed. ${text}${way}`);
}
