// Says whether a running VM can be updated, and what is in the way.

import type { Carried } from "../carry/subject.ts";
import { type Finding, type FindingCode, isBlocker } from "../finding.ts";
import { handedInWords } from "../handover/desk.ts";
import { type UpdateModeName, updateModes, versionText } from "../vm/binary.ts";
import { type OpenVm, openVm, type VmTarget } from "../vm/open.ts";
import { checkBlock } from "./checks/block.ts";
import {
  checkChardevs,
  checkCrashes,
  checkHeldDevices,
  checkListeningNetworks,
  checkNetPeers,
  checkTaps,
  checkVfio,
  checkVfioAccelerator,
} from "./checks/devices.ts";
import { checkBinary, checkImages, checkSockets, checkStartFiles } from "./checks/files.ts";
import { checkCgroup, checkMonitor, checkRoom, checkService } from "./checks/host.ts";
import { checkKernel } from "./checks/kernel.ts";
import { checkFdLimits, checkHostMemory, checkNamespaces, checkRights } from "./checks/limits.ts";
import { checkMemory } from "./checks/memory.ts";
import { checkNewQemu } from "./checks/new-qemu.ts";
import { checkCapabilities, checkMode, checkQemuBlockers, checkRunState } from "./checks/state.ts";
import { type CopyEstimate, estimateCopy } from "./copy-estimate.ts";
import { type Facts, gatherFacts, type UpdateRequest } from "./facts.ts";

/** Options of {@link preflight}. `timeoutMs` limits connecting, and each start of a QEMU. */
export interface PreflightOptions extends UpdateRequest {
  /** Told what is being looked at, for progress. */
  readonly onStep?: ((text: string) => void) | undefined;
}

/** What {@link preflight} found. Plain data. */
export interface PreflightReport {
  readonly vm: {
    readonly pid: number;
    readonly qmp: string;
    readonly program: string;
    readonly version: string;
    /** With its version, such as "pc-q35-10.0". */
    readonly machine: string;
    readonly runState: string;
    /** How many fds it has open, how many of them CPR carries, and how many cprkit hands over itself. */
    readonly fds: {
      readonly open: number;
      readonly carried: number;
      /** Carried as well, about as many: interrupts of VFIO devices. */
      readonly interrupts: number;
      readonly handed: number;
    };
  };
  /** `version` is absent when it could not be asked. */
  readonly new: { readonly program: string; readonly version?: string };
  readonly mode: UpdateModeName;
  readonly findings: readonly Finding[];
  /** Each mode, and whether it works for this VM. */
  readonly ways: readonly UpdateWay[];
  /** What a copy would cost, if it is the way that works. */
  readonly copy?: CopyEstimate;
  /** What cprkit would carry itself, as QEMU's CPR does not. */
  readonly carried: readonly Carried[];
  /** True when nothing blocks the update; there may be warnings. */
  readonly ok: boolean;
}

/** Each looks at one thing, and only at the facts. */
const checks: readonly ((facts: Facts) => readonly Finding[])[] = [
  checkRunState,
  checkMode,
  checkCapabilities,
  checkMemory,
  checkQemuBlockers,
  checkNewQemu,
  checkCrashes,
  checkVfio,
  checkVfioAccelerator,
  checkTaps,
  checkHeldDevices,
  checkListeningNetworks,
  checkNetPeers,
  checkChardevs,
  checkBinary,
  checkImages,
  checkBlock,
  checkStartFiles,
  checkSockets,
  ({ carry }) => carry.findings,
  ({ derived }) => derived.findings,
  checkMonitor,
  checkRights,
  checkNamespaces,
  checkFdLimits,
  checkKernel,
  checkHostMemory,
  checkCgroup,
  checkService,
  checkRoom,
];

/** Codes about the command line that would be derived: a command that was given whole is not judged by it. */
const ofDerivedCommand: ReadonlySet<FindingCode> = new Set([
  "machine-alias",
  "device-hotplugged",
  "device-unplugged",
  "tpm-emulator",
  "options-unseen",
  "fd-option",
  "memory-file",
  "port-taken",
  "parent-exit",
  "chroot",
  "stdio",
  "file-missing",
  "file-emptied",
  "disk-changed",
  "snapshot",
  "readconfig",
  "socket-path",
  "socket-folder",
  "proxmox-pidfile",
]);

/**
 * Looks at a running VM and at the QEMU that is to take over, and lists what is in the way of an update, blockers
 * first. Reads only: the one thing that it sets, the migration parameter "mode" for the length of one query, is set
 * back at once, and left alone while a migration is under way.
 *
 * @param target the VM: the path of its QMP socket, or its process.
 * @throws CprkitError as {@link openVm}; ERR_USAGE for a command with -incoming; ERR_QMP_COMMAND and the like when QEMU
 * does not answer; ERR_ABORTED. A new QEMU that can't be used is a finding, not an error.
 */
export async function preflight(target: VmTarget, options: PreflightOptions = {}): Promise<PreflightReport> {
  options.onStep?.("connecting to the VM's monitor");
  const vm = await openVm(target, options);
  // Ends the question that is under way.
  const abort = () => void vm.qmp.close();
  options.signal?.addEventListener("abort", abort, { once: true });
  try {
    options.onStep?.("asking the VM and the new QEMU");
    const examined = await examine(vm, options);
    const report = reportOf(vm, examined);
    const isCopy = report.mode === "copy" || (!report.ok && report.ways.some(({ mode, ok }) => mode === "copy" && ok));
    if (!isCopy) return report;
    options.onStep?.("measuring how fast the guest writes");
    return { ...report, copy: await estimateCopy(vm.qmp, examined.copy) };
  } finally {
    options.signal?.removeEventListener("abort", abort);
    await vm.qmp.close();
  }
}

/**
 * The same of a VM whose monitor is open already, which stays so; without the cost of a copy, which takes a second.
 *
 * @throws CprkitError as {@link preflight}
 */
export async function preflightOfOpen(vm: OpenVm, asked: UpdateRequest): Promise<PreflightReport> {
  return reportOf(vm, await examine(vm, asked));
}

/** What is known of a VM and of the QEMU that is to take over, and what is in the way. */
export interface Examined {
  readonly facts: Facts;
  /** Blockers first. */
  readonly findings: readonly Finding[];
  readonly ways: readonly UpdateWay[];
  /** The facts of mode copy. */
  readonly copy: Facts;
}

/** Whether one mode works for this VM. */
export interface UpdateWay {
  readonly mode: UpdateModeName;
  readonly ok: boolean;
  /** What is in the way. */
  readonly blockers: readonly FindingCode[];
}

/** Asks and checks; for an update, which goes on with the same facts. @throws CprkitError as {@link preflight} */
export async function examine(
  vm: OpenVm,
  asked: UpdateRequest & { readonly allow?: readonly string[] | undefined },
): Promise<Examined> {
  const { usual, inMode } = await gatherFacts(vm, asked);
  const allowed = new Set<string>(asked.allow);
  const copy = inMode("copy");
  const ways = updateModes.map((mode) => {
    const facts = mode === "copy" ? copy : inMode(mode);
    const all = checks.flatMap((check) => check(facts));
    const findings = asked.command === undefined ? all : all.filter(({ code }) => !ofDerivedCommand.has(code));
    const blockers = findings.filter((finding) => isBlocker(finding) && !allowed.has(finding.code));
    return { mode, facts, findings, blockers };
  });
  const named = (mode: UpdateModeName) => ways.find((way) => way.mode === mode) ?? ways[0];
  const candidates: readonly UpdateModeName[] = [
    "cpr-transfer",
    "cpr-exec",
    ...(asked.allowCopy ? (["copy"] as const) : []),
  ];
  const free = candidates.find((mode) => named(mode)?.blockers.length === 0);
  const chosen = named(asked.mode ?? (named(usual)?.blockers.length === 0 ? usual : (free ?? usual)));
  if (chosen === undefined) throw new Error("there is no mode");
  const { facts, findings } = chosen;
  return {
    facts,
    copy,
    findings: [...findings.filter(isBlocker), ...findings.filter((finding) => !isBlocker(finding))],
    ways: ways.map(({ mode, blockers }) => ({
      mode,
      ok: blockers.length === 0,
      blockers: [...new Set(blockers.map(({ code }) => code))],
    })),
  };
}

function reportOf(vm: OpenVm, { facts, findings, ways }: Examined): PreflightReport {
  const { next, fds, mode } = facts;
  return {
    vm: {
      pid: vm.process.identity.pid,
      qmp: vm.qmpPath,
      program: vm.process.program,
      version: versionText(facts.abilities.version),
      machine: facts.machine,
      runState: facts.runState,
      fds: {
        open: fds.length,
        carried: fds.filter(({ fate }) => fate === "carried").length,
        interrupts: facts.interrupts,
        handed: facts.derived.handed.length,
      },
    },
    new: {
      program: next.program,
      ...("abilities" in next.said ? { version: versionText(next.said.abilities.version) } : {}),
    },
    mode,
    findings,
    carried: [...facts.carry.carried, ...handedInWords(facts.derived.handed)],
    ways,
    ok: !findings.some(isBlocker),
  };
}
