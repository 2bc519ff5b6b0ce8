// What an update is asked for, and what it reports.

import type { Carried } from "../carry/subject.ts";
import type { Finding } from "../finding.ts";
import type { MachineComparison } from "../machine/compare.ts";
import type { UpdateWay } from "../preflight/preflight.ts";
import type { UpdateModeName } from "../vm/binary.ts";
import type { UpdateStep } from "./steps.ts";

/** Options of {@link planUpdate} and {@link updateVm}. */
export interface UpdateOptions {
  /** The new QEMU; may be a wrapper script that ends in exec. Default: the program that runs now. */
  readonly qemu?: string | undefined;
  /** The whole new command line, from the program on; sockets in it must be new. Default: derived from the running one. */
  readonly command?: readonly string[] | undefined;
  /** Default: cpr-transfer where both QEMUs have it, else cpr-exec. */
  readonly mode?: UpdateModeName | undefined;
  /** Longest wait in ms for each thing that a QEMU has to do. Default 60,000; 30,000 for a mere question. */
  readonly timeoutMs?: number | undefined;
  /** Mode copy is among the modes to choose from: it costs the guest's RAM once more, and time. Default: only if it is asked for. */
  readonly allowCopy?: boolean | undefined;
  /** Mode copy: longest pause of the guest in ms. Default: QEMU's parameter "downtime-limit", 300 if nobody set it. */
  readonly maxDowntimeMs?: number | undefined;
  /** Mode copy: bytes a second. Default: no limit. */
  readonly maxBandwidth?: number | undefined;
  /** Mode copy: longest time in ms for copying RAM. Default 10 minutes and one more for each GiB. */
  readonly copyTimeoutMs?: number | undefined;
  /** Mode copy: told several times a second how far it is. */
  readonly onCopy?: ((progress: CopyProgress) => void) | undefined;
  /** Told what will be done, mode included, before anything is changed. */
  readonly onPlan?: ((plan: UpdatePlan) => void) | undefined;
  /** Written in the journal: what `ensureUpdated` knows this update by when its caller was killed. */
  readonly key?: string | undefined;
  /** Folder for journals, locks, sockets and logs. Default: see the guide. */
  readonly stateDir?: string | undefined;
  /** Codes of findings that must not stop the update. */
  readonly allow?: readonly string[] | undefined;
  /** How long to wait for block jobs that are under way, in ms. Default 0: a job is refused. */
  readonly waitForJobsMs?: number | undefined;
  /** Told what is waited for, such as "waiting for the mirror job j0 (running, 40 % done)". */
  readonly onWait?: ((text: string) => void) | undefined;
  readonly hooks?: UpdateHooks | undefined;
  /** Updates with the same object ask a new QEMU binary once. Default: each asks anew. */
  readonly sharing?: object | undefined;
  /** Of displays, which QEMU does not tell: given to the new one, and never written down. */
  readonly passwords?: DisplayPasswords | undefined;
  /** Rolls back while that can be done, and is too late after it. */
  readonly signal?: AbortSignal | undefined;
  /** Called, and waited for, at each step. What it throws counts as a failure of the update. */
  readonly onStep?: ((step: UpdateStep, processes: UpdateProcesses) => void | Promise<void>) | undefined;
}

/** How far the copying of RAM is, as QEMU counts. */
export interface CopyProgress {
  /** Bytes of RAM, bytes that are left in this round, and bytes that were sent. */
  readonly total: number;
  readonly remaining: number;
  readonly transferred: number;
  readonly bytesPerSecond: number;
  /** What the guest writes. */
  readonly dirtyBytesPerSecond: number;
  /** By how many percent QEMU slows the guest down so that there is an end (auto-converge). */
  readonly throttle: number;
  readonly elapsedMs: number;
  /** Expected; undefined while the guest writes as fast as is copied. */
  readonly leftMs: number | undefined;
}

/** By set_password's names of the protocols. */
export interface DisplayPasswords {
  readonly vnc?: string | undefined;
  readonly spice?: string | undefined;
}

/** The two processes of an update, as far as they exist. */
export interface UpdateProcesses {
  readonly source: number;
  readonly destination?: number | undefined;
}

/** Commands for /bin/sh. They see CPRKIT_SOURCE_PID, CPRKIT_PID, CPRKIT_QMP and CPRKIT_MODE. */
export interface UpdateHooks {
  /** Just before the guest's stop, when all else is ready. Its failure rolls the update back. */
  readonly beforePause?: string | undefined;
  readonly onSuccess?: string | undefined;
  readonly onFailure?: string | undefined;
}

/** One fd that was carried. */
export interface CarriedFd {
  readonly name: string;
  readonly id: number;
  /** For people: "memfd:pc.ram". */
  readonly what: string;
}

/** How many values of the two machines were compared, and what differs. */
export interface UpdateComparison {
  /** Before the guest stopped; of cpr-exec in the rehearsal. Undefined: there was none. */
  readonly before: MachineComparison | undefined;
  /** Undefined: the new QEMU did not answer. */
  readonly after: MachineComparison | undefined;
}

/** What a finished update reports. Times in milliseconds. */
export interface UpdateReport {
  readonly outcome: "updated";
  readonly mode: UpdateModeName;
  /** Versions such as "10.0.2". */
  readonly from: string;
  readonly to: string;
  readonly sourcePid: number;
  readonly pid: number;
  /** The path of the QMP socket that people use. */
  readonly qmp: string;
  /** Of the guest at the end, such as "running". */
  readonly runState: string;
  /**
   * STOP of the source to RESUME of the destination, by the QEMUs' own clocks. Undefined for a guest that was paused, and
   * when the clock was set in between, which shows as a time below 0 or longer than the hand-over took.
   * With cpr-exec RESUME comes before anybody can be connected: then it ends when the new program said "running".
   */
  readonly downtimeMs: number | undefined;
  /** When it began and ended: microseconds since 1970 by the host's clock. */
  readonly stopUs: number | undefined;
  readonly resumeUs: number | undefined;
  /** Of cpr-exec undefined if the state was gone before it could be looked at; of cpr-reboot always empty. */
  readonly fds: readonly CarriedFd[] | undefined;
  /** What cprkit carried itself, as QEMU's CPR does not. */
  readonly carried: readonly Carried[];
  /** The new machine against the old one, just before the guest stopped and once more at the end. */
  readonly comparison: UpdateComparison;
  /** Fds on which O_NONBLOCK was set again after the new QEMU had cleared it (10.0 does). */
  readonly nonblockRestored: number;
  /** Time from the step before to each step. */
  readonly phases: readonly { readonly step: UpdateStep; readonly ms: number }[];
  readonly totalMs: number;
  readonly warnings: readonly string[];
  /** What the new QEMU has reported, warnings for the most part. With cpr-exec: what its trial has. */
  readonly said: readonly string[];
  readonly command: readonly string[];
  /** What the new QEMU prints goes here. */
  readonly log: string;
}

/** What an update would do. */
export interface UpdatePlan {
  readonly mode: UpdateModeName;
  readonly from: string;
  readonly to: string;
  readonly pid: number;
  readonly qmp: string;
  /** The new QEMU's command line, from the program on, without what cprkit adds for the hand-over (-incoming). */
  readonly command: readonly string[];
  /** Version for which the CPR state is written, when the new QEMU is older. */
  readonly forVersion: string | undefined;
  readonly findings: readonly Finding[];
  /** What cprkit carries itself, as QEMU's CPR does not. */
  readonly carried: readonly Carried[];
  /** Each mode, and whether it works for this VM. */
  readonly ways: readonly UpdateWay[];
}
