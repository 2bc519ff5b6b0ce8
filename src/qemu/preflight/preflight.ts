// Says whether a running VM can be updated, and what is in the way.

import type { WaitOptions } from "../../linux/index.ts";
import { adopted, type PreflightFinding } from "../finding.ts";
import { type CprModeName, versionText } from "../vm/binary.ts";
import { askNewQemu, newQemuCommand } from "../vm/new-qemu.ts";
import { type OpenVm, openVm, type VmTarget } from "../vm/process.ts";
import { checkChardevs, checkCrashes, checkHeldDevices, checkHotplug, checkTaps, checkVfio } from "./checks/devices.ts";
import { checkBinary, checkImages, checkSockets, checkStartFiles } from "./checks/files.ts";
import { checkFdLimits, checkHostMemory, checkUser } from "./checks/limits.ts";
import { checkMemory } from "./checks/memory.ts";
import { checkNewQemu } from "./checks/new-qemu.ts";
import { checkCapabilities, checkMode, checkQemuBlockers, checkRunState } from "./checks/state.ts";
import { type Facts, gatherFacts } from "./facts.ts";

/** Options of {@link preflight}. `timeoutMs` limits connecting, and each start of the new QEMU. */
export interface PreflightOptions extends WaitOptions {
  /** Program of the new QEMU; by default the path that the running one was started from. */
  readonly qemu?: string | undefined;
  /** Default: cpr-transfer. */
  readonly mode?: CprModeName | undefined;
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
    /** How many fds it has open, and how many of them CPR carries. */
    readonly fds: { readonly open: number; readonly carried: number };
  };
  /** `version` is absent when it could not be asked. */
  readonly new: { readonly program: string; readonly version?: string };
  readonly mode: CprModeName;
  readonly findings: readonly PreflightFinding[];
  /** True when nothing blocks the update; there may be warnings. */
  readonly ok: boolean;
}

/** Each looks at one thing, and only at the facts. */
const checks: readonly ((facts: Facts) => readonly PreflightFinding[])[] = [
  checkRunState,
  checkMode,
  checkCapabilities,
  checkMemory,
  checkQemuBlockers,
  checkNewQemu,
  checkCrashes,
  checkVfio,
  checkTaps,
  checkHeldDevices,
  checkHotplug,
  checkChardevs,
  checkBinary,
  checkImages,
  checkStartFiles,
  checkSockets,
  ({ derived }) => derived.findings.map(adopted),
  checkUser,
  checkFdLimits,
  checkHostMemory,
];

/**
 * Looks at a running VM and at the QEMU that shall take over, and lists what is in the way of an update, blockers
 * first. Reads only: the one thing that it sets, the migration parameter "mode" for the length of one query, is set
 * back at once, and left alone while a migration is under way.
 *
 * @param target the VM: an open one, the path of its QMP socket, or its process.
 * @throws CprkitError as {@link openVm}; ERR_QMP_COMMAND and the like when QEMU does not answer; ERR_ABORTED. A new
 * QEMU that can't be used is a finding, not an error.
 */
export async function preflight(target: VmTarget | OpenVm, options: PreflightOptions = {}): Promise<PreflightReport> {
  if ("process" in target) return examine(target, options);
  options.onStep?.("connecting to the VM's monitor");
  const vm = await openVm(target, options);
  // Ends the question that is under way.
  const abort = () => void vm.qmp.close();
  options.signal?.addEventListener("abort", abort, { once: true });
  try {
    return await examine(vm, options);
  } finally {
    options.signal?.removeEventListener("abort", abort);
    await vm.qmp.close();
  }
}

async function examine(vm: OpenVm, options: PreflightOptions): Promise<PreflightReport> {
  const { mode = "cpr-transfer", onStep } = options;
  const command = newQemuCommand(vm.process, options.qemu);
  onStep?.(`asking ${command.words.at(-1)} what it can do`);
  const next = await askNewQemu(command, vm.process.cwd, options);
  onStep?.("asking the VM");
  const facts = await gatherFacts(vm, mode, next, options);
  onStep?.("comparing");
  const findings = checks.flatMap((check) => check(facts));
  return {
    vm: {
      pid: vm.process.identity.pid,
      qmp: vm.qmpPath,
      program: vm.process.program,
      version: versionText(facts.abilities.version),
      machine: facts.machine,
      runState: facts.runState,
      fds: { open: facts.fds.length, carried: facts.fds.filter(({ fate }) => fate === "carried").length },
    },
    new: {
      program: next.program,
      ...("abilities" in next.said ? { version: versionText(next.said.abilities.version) } : {}),
    },
    mode,
    findings: [...findings.filter(isBlocker), ...findings.filter((finding) => !isBlocker(finding))],
    ok: !findings.some(isBlocker),
  };
}

function isBlocker({ severity }: PreflightFinding): boolean {
  return severity === "blocker";
}
