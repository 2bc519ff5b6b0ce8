// What one subject (disks, devices, limits …) says of an update: how the new QEMU gets what the VM has since its start.

import type { CommandOption } from "../command-line/parse.ts";
import type { Finding } from "../finding.ts";
import type { Machine } from "../machine/schema.ts";
import type { UpdateModeName } from "../vm/binary.ts";
import type { VmProcess } from "../vm/process.ts";

/** A command for a QEMU's monitor, as plain data: it is written into the journal, so it must not hold a secret. */
export interface QmpStep {
  readonly execute: string;
  readonly arguments?: Readonly<Record<string, unknown>> | undefined;
}

/** One thing that cprkit carries itself, for people and programs. */
export interface Carried {
  /** What it is about: an id, a path, a name. */
  readonly subject: string;
  /** In words: "I/O limits of d1: bps 1000000". */
  readonly what: string;
}

/** What a subject looks at. */
export interface CarryInput {
  /** The VM as it runs now. */
  readonly machine: Machine;
  /** The command line so far: the running one, as the subjects before have changed it. */
  readonly options: readonly CommandOption[];
  readonly mode: UpdateModeName;
  readonly process: VmProcess;
  /** The new QEMU knows cpr-transfer and aux-ram-share: what is started now can be updated by CPR later. */
  readonly takesCpr: boolean;
}

/** What one subject, or all together, want done. */
export interface CarryPlan {
  /** The command line that builds the machine as it is now, in the running QEMU's own names of sockets and files. */
  readonly options: readonly CommandOption[];
  readonly carried: readonly Carried[];
  /** What can't be carried. */
  readonly findings: readonly Finding[];
  /** For the new QEMU, once its machine is built and before the guest stops; with cpr-exec as soon as it has the guest. */
  readonly before: readonly QmpStep[];
  /** For the new QEMU when the old one has ended: what only one of the two can have. Failure is a warning. */
  readonly after: readonly QmpStep[];
  /** What the old QEMU must let go of just before the guest stops, and how it gets it back if the update is rolled back. */
  readonly release: readonly { readonly do: QmpStep; readonly undo: QmpStep }[];
}

/** Looks and decides; changes nothing. What it leaves out stays as it is. */
export type Subject = (input: CarryInput) => Partial<CarryPlan>;
