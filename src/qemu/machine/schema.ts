// The machine as it is: what a running QEMU and /proc say of it, as plain data that goes through JSON. Described once:
// the schema checks what was read, or a saved file, and gives it its type. QEMU's things have QEMU's names.

import { z } from "zod";
import { qmpReturns } from "../qmp/schema.ts";

const properties = z.record(z.string(), z.unknown());

/** A file that the process has open, as fstat(2) of that very fd says: its path may lead to another file by now. */
const openFile = z.object({
  fd: z.number(),
  /** The link of /proc/PID/fd/N. */
  link: z.string(),
  /** "MAJOR:MINOR" of the file system. */
  device: z.string(),
  inode: z.number(),
});

const qomObject = z.object({
  path: z.string(),
  type: z.string(),
  /** Those that could be read. */
  properties,
});

const device = z.object({
  /** Absent: added without one. */
  id: z.string().optional(),
  type: z.string(),
  path: z.string(),
  /** QOM path of the bus that it is on. */
  bus: z.string().optional(),
  /** What -device takes, where it is not the type's default. */
  options: properties,
});

const object = z.object({
  id: z.string(),
  type: z.string(),
  /** What -object takes and the running object gives back. */
  options: properties,
});

/** bps…, iops… above 0, and the throttle group, by QEMU's names. */
const limits = z.record(z.string(), z.union([z.number(), z.string()]));

const blockDevice = z.object({
  /** Of -drive; "" for one of -device with a node. */
  device: z.string(),
  /** QOM path or id of the guest's device. */
  qdev: z.string().optional(),
  /** The node that is in it; absent: no medium. */
  node: z.string().optional(),
  removable: z.boolean(),
  locked: z.boolean(),
  trayOpen: z.boolean().optional(),
  ioStatus: z.string().optional(),
  limits,
  writeback: z.boolean().optional(),
  /** Bounds of its latency histograms, by kind of request: rd, wr, flush, zone_append. */
  histograms: z.record(z.string(), z.array(z.number())).optional(),
});

const bitmap = z.object({
  name: z.string().optional(),
  granularity: z.number(),
  /** Dirty bytes. */
  count: z.number(),
  recording: z.boolean(),
  persistent: z.boolean(),
});

const blockNode = z.object({
  name: z.string(),
  driver: z.string(),
  /** The file name as QEMU has it. */
  file: z.string(),
  readOnly: z.boolean(),
  /** Virtual size in bytes. */
  size: z.number(),
  /** Its nodes below, by what they are to it: file, backing … */
  children: z.array(z.object({ name: z.string(), node: z.string() })),
  cache: z.object({ writeback: z.boolean(), direct: z.boolean(), noFlush: z.boolean() }),
  limits,
  bitmaps: z.array(bitmap),
  /** The open file behind a node of a file or host device, where it can be found among the fds. */
  open: openFile.optional(),
  /** The rest of what QEMU says of it, by QEMU's names. */
  other: properties,
});

/** The NBD server of QEMU, as it answers a client. */
const nbdServer = z.object({
  address: z.union([
    z.object({ type: z.literal("unix"), path: z.string() }),
    z.object({ type: z.literal("inet"), host: z.string(), port: z.string() }),
  ]),
  /** In the order in which they were made. */
  exports: z.array(
    z.object({
      name: z.string(),
      description: z.string(),
      size: z.number(),
      readOnly: z.boolean(),
      bitmaps: z.array(z.string()),
      allocationDepth: z.boolean(),
    }),
  ),
});

const ramBlock = z.object({
  /** "" for a memory backend that nothing uses. */
  name: z.string(),
  size: z.number(),
  /** The file that is mapped; absent: anonymous memory, or a file that QEMU has closed. */
  file: openFile.optional(),
});

const netClient = z.object({
  name: z.string(),
  /** nic, user, tap, hubport … */
  type: z.string(),
  /** The name of the client at the other end, or of the hub. */
  peer: z.string().optional(),
  /** The rest of the line of "info network". */
  info: z.string(),
});

const hostForward = z.object({
  netdev: z.string(),
  protocol: z.string(),
  host: z.string(),
  guest: z.string(),
});

/** A thread of QEMU, as the kernel has it. */
export const threadSchema = z.object({
  /** "main", "vcpu 0", "iothread io0". Threads of no fixed number are left out. */
  role: z.string(),
  /** Allowed CPUs, as the kernel lists them: "0-3". */
  cpus: z.string(),
  nice: z.number(),
  /** Number of the policy (sched(7)): 0 normal, 1 FIFO, 2 round robin … */
  policy: z.number(),
  realtimePriority: z.number(),
  /** ioprio_set(2): the class from bit 13 on, and the priority. */
  ioPriority: z.number(),
  /** Its place in each cgroup tree, by the names of the tree's controllers; "" is cgroup v2. */
  cgroups: z.record(z.string(), z.string()),
});

const socketFile = z.object({
  path: z.string(),
  /** Such as "0660"; absent where the path leads nowhere, or is abstract. */
  mode: z.string().optional(),
  uid: z.number().optional(),
  gid: z.number().optional(),
});

const limit = z.union([z.number(), z.literal("unlimited")]);

const process = z.object({
  pid: z.number(),
  program: z.string(),
  uid: z.number(),
  gid: z.number(),
  groups: z.array(z.number()),
  /** Hexadecimal sets (capabilities(7)). */
  capabilities: z.object({
    inheritable: z.string(),
    permitted: z.string(),
    bounding: z.string(),
    ambient: z.string(),
  }),
  noNewPrivs: z.boolean(),
  seccompFilters: z.number(),
  label: z.string().optional(),
  /** Such as "0022". */
  umask: z.string(),
  /** By kind: "net" is "net:[4026531840]". */
  namespaces: z.record(z.string(), z.string()),
  cgroup: z.string().optional(),
  oomScoreAdj: z.number(),
  /** By the kernel's names. */
  limits: z.record(z.string(), z.object({ soft: limit, hard: limit })),
  /** Of its session (sched(7)); missing without autogroups. */
  autogroupNice: z.number().optional(),
  threads: z.array(threadSchema),
  /** The UNIX sockets that it listens on. */
  sockets: z.array(socketFile),
  /** "ADDRESS:PORT" of the TCP sockets that it listens on. */
  tcp: z.array(z.string()),
});

/** What {@link readMachine} gives. `machineSchema.parse` reads it back from JSON. */
export const machineSchema = z.object({
  qemu: z.object({ version: z.string(), package: z.string() }),
  /** Such as "pc-q35-10.0". */
  type: z.string(),
  name: z.string().optional(),
  uuid: z.string().optional(),
  status: qmpReturns["query-status"],
  qom: z.array(qomObject),
  devices: z.array(device),
  objects: z.array(object),
  cpus: z.object({ count: z.number(), slots: z.unknown().optional() }),
  memory: z.object({
    backends: qmpReturns["query-memdev"],
    /** DIMMs and other memory devices, as query-memory-devices says. */
    devices: z.unknown().optional(),
    blocks: z.array(ramBlock),
  }),
  block: z.object({
    devices: z.array(blockDevice),
    nodes: z.array(blockNode),
    jobs: qmpReturns["query-jobs"],
    exports: qmpReturns["query-block-exports"],
    /** Absent: there is none with an export, or it could not be asked. */
    nbd: nbdServer.optional(),
  }),
  chardevs: qmpReturns["query-chardev"],
  net: z.object({ clients: z.array(netClient), forwards: z.array(hostForward) }),
  iothreads: qmpReturns["query-iothreads"],
  vnc: qmpReturns["query-vnc-servers"],
  spice: z.unknown().optional(),
  migration: z.object({
    status: z.string().optional(),
    parameters: qmpReturns["query-migrate-parameters"],
    /** The names of those that are on. */
    capabilities: z.array(z.string()),
  }),
  balloon: z.unknown().optional(),
  generationId: z.string().optional(),
  fdsets: qmpReturns["query-fdsets"],
  /** Those that are on. */
  traceEvents: z.array(z.string()).optional(),
  process,
  /** The commands that QEMU did not answer, and why. "CommandNotFound": this QEMU does not have it. */
  unanswered: z.array(z.object({ command: z.string(), qmpClass: z.string(), reason: z.string() })),
});

/** A running machine as plain data. */
export type Machine = z.infer<typeof machineSchema>;
