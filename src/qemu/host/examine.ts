// What on this host helps or hinders cprkit: everything is asked of the system, most of it by trying.

import { readdirSync } from "node:fs";
import { resolve } from "node:path";
import { isCprkitError } from "../../vmstate/error.ts";
import { programWords } from "../command-line/program-words.ts";
import { type QemuProcess, qemuProcesses } from "../many/find.ts";
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
  const qemus = qemuProcesses();
  const own = qemus.filter(({ isOurs }) => isOurs);
  // Without it no call can be tried.
  if (koffi.state === "fine") {
    onStep?.("trying system calls");
    facts.push(...(await kernelFacts()), await takingFdsFact(), ...limitFacts(openFds(own)));
    facts.push(confinementFact(), namespaceFact(), cgroupFact(), kvmFact(), vfioFact());
    facts.push(...programFacts());
  }
  facts.push(stateFact(), cacheFact(), vmsFact(qemus.length, own.length));
  onStep?.("asking the QEMUs of this host");
  if (koffi.state === "fine")
    facts.push(...(await binaryFacts([...qemu.map((path) => resolve(path)), ...running(own)], signal)));
  return facts;
}

function openFds(vms: readonly QemuProcess[]): { readonly pid: number; readonly fds: number }[] {
  return vms.flatMap(({ pid }) => {
    try {
      return [{ pid, fds: readdirSync(`/proc/${pid}/fd`).length }];
    } catch {
      return [];
    }
  });
}

/** The programs of the VMs within reach, as they were called. */
function running(vms: readonly QemuProcess[]): string[] {
  return vms.flatMap(({ pid }) => {
    try {
      const program = programWords(readVmProcess(pid)).at(-1);
      return program?.startsWith("/") === true ? [program] : [];
    } catch (error) {
      if (isCprkitError(error)) return [];
      throw error;
    }
  });
}

/** Only who they are: `cprkit list` says more. */
function vmsFact(all: number, own: number): HostFact {
  if (all === own) return fine("vms", `${all} running QEMUs, all within reach`);
  return note("vms", `${all - own} of ${all} running QEMUs belong to other users`, "run cprkit as root");
}
