// What on this host helps or hinders cprkit: everything is asked of the system, most of it by trying.

import { readdirSync } from "node:fs";
import { resolve } from "node:path";
import { isCprkitError } from "../../vmstate/error.ts";
import { programWords } from "../command-line/program-words.ts";
import { qemuProcesses } from "../many/find.ts";
import { readVmProcess } from "../vm/process.ts";
import { binaryFacts } from "./binaries.ts";
import { kvmFact, vfioFact } from "./devices.ts";
import { fine, type HostFact, note } from "./fact.ts";
import {
  cgroupFact,
  confinementFact,
  kernelFacts,
  limitFacts,
  namespaceFact,
  nodeFact,
  takingFdsFact,
} from "./kernel.ts";
import { cacheFact, koffiFact, programFacts, stateFact } from "./programs.ts";

/** Options of {@link examineHost}. */
export interface ExamineHostOptions {
  /** Further QEMUs, besides those in PATH, in the usual folders, and those that run. */
  readonly qemu?: readonly string[] | undefined;
  readonly signal?: AbortSignal | undefined;
  /** Told what is being looked at. */
  readonly onStep?: ((text: string) => void) | undefined;
}

/**
 * Looks at this host with the rights of this process, whichever VMs run on it; what a VM needs is said by preflight.
 * Starts each QEMU that it finds for a moment, but none that another user could have changed. Changes nothing.
 *
 * @throws CprkitError ERR_ABORTED
 */
export async function examineHost({ qemu = [], signal, onStep }: ExamineHostOptions = {}): Promise<HostFact[]> {
  const koffi = koffiFact();
  const facts = [nodeFact(), koffi];
  // Without it no call can be tried.
  if (koffi.state === "fine") {
    onStep?.("trying system calls");
    facts.push(...(await kernelFacts()), await takingFdsFact(), ...limitFacts(ownVms()));
    facts.push(confinementFact(), namespaceFact(), cgroupFact(), kvmFact(), vfioFact());
    facts.push(...programFacts());
  }
  facts.push(stateFact(), cacheFact(), vmsFact());
  onStep?.("asking the QEMUs of this host");
  if (koffi.state === "fine")
    facts.push(...(await binaryFacts([...qemu.map((path) => resolve(path)), ...running()], signal)));
  return facts;
}

function ownVms(): { readonly pid: number; readonly fds: number }[] {
  return qemuProcesses().flatMap(({ pid, isOurs }) => {
    try {
      return isOurs ? [{ pid, fds: readdirSync(`/proc/${pid}/fd`).length }] : [];
    } catch {
      return [];
    }
  });
}

/** The programs of the VMs within reach, as they were called. */
function running(): string[] {
  return qemuProcesses().flatMap(({ pid, isOurs }) => {
    try {
      if (!isOurs) return [];
      const program = programWords(readVmProcess(pid)).at(-1);
      return program?.startsWith("/") === true ? [program] : [];
    } catch (error) {
      if (isCprkitError(error)) return [];
      throw error;
    }
  });
}

/** Only who they are: `cprkit list` says more. */
function vmsFact(): HostFact {
  const all = qemuProcesses();
  const others = all.filter(({ isOurs }) => !isOurs).length;
  if (others === 0) return fine("vms", `${all.length} running QEMUs, all within reach`);
  return note("vms", `${others} of ${all.length} running QEMUs belong to other users`, "run cprkit as root");
}
