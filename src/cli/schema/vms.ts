// What the commands for a running VM print with --json.

import { z } from "zod";
import { machineSchema } from "../../qemu/machine/schema.ts";
import { error } from "./streams.ts";

const mode = z.string().describe("cpr-transfer, cpr-exec, cpr-reboot or copy");
const count = z.int().nonnegative();

const finding = z.object({
  code: z.string(),
  severity: z.enum(["blocker", "warning"]),
  message: z.string(),
  remedy: z.string(),
  subject: z.string().optional(),
});

const way = z.object({ mode, ok: z.boolean(), blockers: z.array(z.string()) });
const carried = z.object({ subject: z.string(), what: z.string() });

/** `inspect --qmp` and `--pid`. */
export const inspectMachine = machineSchema;

/** `list`. */
export const list = z.object({
  vms: z.array(
    z.object({
      pid: z.int(),
      uid: z.int(),
      user: z.string().optional(),
      name: z.string().optional(),
      qmp: z.string().optional(),
      version: z.string().optional(),
      machine: z.string().optional(),
      runState: z.string().optional(),
      fds: count.optional(),
      mode: mode.optional(),
      ways: z.array(way).optional(),
      new: z.object({ program: z.string(), version: z.string().optional() }).optional(),
      problem: z.object({ code: z.string(), message: z.string() }).optional(),
    }),
  ),
});

/** `doctor`. */
export const doctor = z.object({
  facts: z.array(
    z.object({
      subject: z.string(),
      state: z.enum(["fine", "note", "hinders"]),
      text: z.string(),
      remedy: z.string().optional(),
    }),
  ),
  ok: z.boolean(),
});

/** `fds`. */
export const fds = z.object({
  pid: z.int(),
  program: z.string(),
  version: z.string().optional(),
  fds: z.array(z.looseObject({ fd: z.int(), link: z.string() })),
  interrupts: count,
  warnings: z.array(z.string()),
});

/** `preflight`. */
export const preflight = z.object({
  vm: z.object({
    pid: z.int(),
    qmp: z.string(),
    program: z.string(),
    version: z.string(),
    machine: z.string(),
    runState: z.string(),
    fds: z.object({ open: count, carried: count, interrupts: count, handed: count }),
  }),
  new: z.object({ program: z.string(), version: z.string().optional() }),
  mode,
  findings: z.array(finding),
  ways: z.array(way),
  copy: z
    .object({
      memory: z.number(),
      dirtyBytesPerSecond: z.number().optional(),
      bytesPerSecond: z.number(),
      ms: z.number().optional(),
      downtimeLimitMs: z.number(),
    })
    .optional(),
  carried: z.array(carried),
  ok: z.boolean(),
});

/** `update --dry-run`. */
export const updatePlan = z.object({
  mode,
  from: z.string(),
  to: z.string(),
  pid: z.int(),
  qmp: z.string(),
  command: z.array(z.string()),
  forVersion: z.string().optional(),
  findings: z.array(finding),
  carried: z.array(carried),
  ways: z.array(way),
});

/** `update`. */
export const update = z.looseObject({
  outcome: z.literal("updated"),
  mode,
  from: z.string(),
  to: z.string(),
  sourcePid: z.int(),
  pid: z.int(),
  qmp: z.string(),
  runState: z.string(),
  downtimeMs: z.number().optional(),
  stopUs: z.number().optional(),
  resumeUs: z.number().optional(),
  fds: z.array(z.looseObject({ name: z.string(), id: z.int() })).optional(),
  carried: z.array(carried),
  comparison: z.looseObject({}),
  nonblockRestored: count,
  phases: z.array(z.object({ step: z.string(), ms: z.number() })),
  totalMs: z.number(),
  warnings: z.array(z.string()),
  command: z.array(z.string()),
  log: z.string(),
});

/** `update --resume` and `--abort`. */
export const recovery = z.object({
  outcome: z.enum(["updated", "rolled-back", "lost", "outdated"]),
  pid: z.int().optional(),
  why: z.string(),
  warnings: z.array(z.string()),
  report: update.optional(),
});

/** `ensure`. */
export const ensure = z.object({
  result: z.enum(["updated", "nothing-to-do", "refused", "try-again", "lost"]),
  text: z.string(),
  pid: z.int().optional(),
  qmp: z.string().optional(),
  recovered: recovery.shape.outcome.optional(),
  report: update.optional(),
  fromJournal: z
    .object({
      mode,
      startedAt: z.string(),
      from: z.string(),
      to: z.string().optional(),
      sourcePid: z.int(),
      pid: z.int().optional(),
      downtimeMs: z.number().optional(),
      stopUs: z.number().optional(),
      resumeUs: z.number().optional(),
      log: z.string(),
    })
    .optional(),
  error: z.object({ code: z.string(), message: z.string() }).optional(),
  repeated: z.boolean(),
});

/** `update` of several VMs: one line for each thing that happens. The outcomes have a report or an error. */
export const updateEvent = z.looseObject({
  event: z.string().optional(),
  vm: z.looseObject({}).optional(),
  error: error.shape.error.optional(),
});

const qemu = z.looseObject({ pid: z.int(), version: z.string() });

const vmStatus = z.object({
  qmp: z.string(),
  guest: z.enum(["source", "destination", "nobody", "handing-over", "unknown"]),
  pid: z.int().optional(),
  runState: z.string().optional(),
  source: qemu,
  destination: qemu.optional(),
  update: z
    .object({
      mode,
      startedAt: z.string(),
      step: z.string(),
      outcome: z.enum(["updated", "rolled-back", "lost", "unfinished"]),
      message: z.string().optional(),
      holder: z.int().optional(),
    })
    .optional(),
  hasEnded: z.boolean(),
  text: z.string(),
});

/** `status` of one VM, or of all; with --watch a line each, also for a VM that can't be asked. */
export const status = z.union([
  vmStatus,
  error,
  z.object({ vms: z.array(vmStatus), problems: z.array(z.object({ folder: z.string(), text: z.string() })) }),
]);

const passed = z.looseObject({ name: z.string(), id: z.int(), fd: z.int(), what: z.string() });

/** `tap`: one line for each thing that happens. */
export const tap = z.union([
  z.object({ event: z.literal("listening"), path: z.string() }),
  z.object({ event: z.literal("connected"), connecting: z.string() }),
  z.object({
    event: z.literal("state"),
    received: count.describe("bytes"),
    sent: count.describe("bytes"),
    abi: z.enum(["list", "hash"]).optional(),
    fds: z.array(passed),
    own: z.array(passed),
    warnings: z.array(z.string()),
    relayMs: z.number(),
  }),
  z.object({ event: z.literal("hangup"), by: z.enum(["source", "destination"]), nonblockRestored: count }),
]);

const times = z.object({ min: z.number(), median: z.number() });

/** `demo`. */
export const demo = z.object({
  handOver: z.object({
    fds: count,
    found: count,
    same: count,
    bytes: count,
    saveMs: z.number(),
    transferMs: z.number(),
    loadMs: z.number(),
    findNs: z.number(),
    leaked: z.object({ old: z.int(), new: z.int() }),
  }),
  lookUps: z.array(z.object({ fds: count, list: times, hash: times })),
  realVm: z
    .object({
      replacements: z.array(
        z.object({
          from: z.string(),
          to: z.string(),
          fds: count,
          lastBefore: z.int(),
          firstAfter: z.int(),
          gapMs: z.number().describe("between the guest's last number in the old QEMU and its first in the new one"),
          around: z.array(z.number()).describe("ms between each two of the guest's numbers around the gap"),
        }),
      ),
      counted: count,
      lost: count.describe("numbers that are missing, or came twice"),
      usualMs: z.number().describe("median time between two of the guest's numbers"),
    })
    .nullable(),
  realVmSkipped: z.string().optional(),
});
