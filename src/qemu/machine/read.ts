// Reads a running machine in one go. Changes nothing.

import { setMaxListeners } from "node:events";
import type { WaitOptions } from "../../linux/index.ts";
import { mappedRam } from "../fds/ram.ts";
import { versionText } from "../vm/binary.ts";
import { type OpenVm, openVm, type VmTarget } from "../vm/open.ts";
import { type Asker, askerOf } from "./ask.ts";
import { readBlock } from "./block.ts";
import { readDevices, readObjects } from "./devices.ts";
import { findNbd } from "./nbd.ts";
import { readNet } from "./net.ts";
import { fdLinks, openFile } from "./open-files.ts";
import { readProcess } from "./process.ts";
import { type Machine, machineSchema } from "./schema.ts";
import { withoutPasswords } from "./secrets.ts";
import { type CpuSwitches, type QomTree, readQom } from "./tree/qom.ts";

/**
 * Reads a running machine: what QEMU says of it over QMP, and /proc of its process. A command that this QEMU does not have is left
 * out and named in `unanswered`. Not read: secrets, guest memory, the state of devices, the command line and
 * environment; docs/inspect.md lists what QEMU does not tell. The guest runs on; the parts are read one after another,
 * so what changes meanwhile may be seen in one and not in another.
 *
 * @param options `timeoutMs` limits the connection and each command.
 * @throws CprkitError ERR_USAGE without a target; ERR_UPDATE_REFUSED when the process serves no QMP on a UNIX socket;
 * ERR_SYSCALL when it may not be looked at; ERR_QMP, ERR_TIMEOUT, ERR_QEMU_EXITED, ERR_ABORTED.
 */
export async function readMachine(target: VmTarget, options: WaitOptions = {}): Promise<Machine> {
  const vm = await openVm(target, options);
  try {
    return (await readOpenMachine(vm, options)).machine;
  } finally {
    await vm.qmp.close();
  }
}

/** A machine that was read, and what the next reading of the same process or program need not ask again. */
export interface Reading {
  readonly machine: Machine;
  readonly said: QomTree["said"];
  readonly fixed: Map<string, unknown>;
}

/** How an open VM is read. */
export interface ReadingOptions {
  /** Default: "read". */
  readonly switches?: CpuSwitches | undefined;
  /** A reading of the same process, or of another one of the same program. */
  readonly before?: Reading | undefined;
  /** False: trace events are not read, the longest answer of all. */
  readonly traceEvents?: boolean;
}

/** The same over a monitor that is open. @throws CprkitError as {@link readMachine} */
export async function readOpenMachine(
  { qmp, process }: Pick<OpenVm, "qmp" | "process">,
  options: WaitOptions,
  { switches = "read", before, traceEvents = true }: ReadingOptions = {},
): Promise<Reading> {
  const wait = { ...options, signal: forManyCommands(options.signal) };
  const fixed = before?.fixed ?? new Map<string, unknown>();
  const asker = askerOf(qmp, wait, fixed);
  const { ask } = asker;
  const { pid } = process.identity;
  const links = fdLinks(pid);
  const { version } = qmp.greeting;
  const fdsets = (await ask("query-fdsets")) ?? [];
  const [block, net, status, cpus = [], iothreads = [], ram] = await Promise.all([
    readBlock(asker, process, links, fdsets),
    readNet(asker),
    qmp.execute("query-status", undefined, wait),
    ask("query-cpus-fast"),
    ask("query-iothreads"),
    mappedRam(pid, qmp, links),
  ]);
  const known = before && { objects: before.machine.qom, said: before.said };
  const { objects: qom, said } = await readQom(qmp, asker, wait, switches, known);
  const [devices, objects, name, uuid, generation, migration] = await Promise.all([
    readDevices(asker, qom),
    readObjects(asker, qom),
    ask("query-name"),
    ask("query-uuid"),
    ask("query-vm-generation-id"),
    ask("query-migrate"),
  ]);
  const type = qom.find(({ path }) => path === "/machine")?.type ?? "";
  const chardevs = (await ask("query-chardev")) ?? [];
  const vnc = (await ask("query-vnc-servers")) ?? [];
  const read = readProcess(process, links, [
    ...cpus.map((cpu) => ({ role: `vcpu ${cpu["cpu-index"]}`, id: cpu["thread-id"] })),
    ...iothreads.map(({ id, "thread-id": thread }) => ({ role: `iothread ${id}`, id: thread })),
  ]);
  const isExporting = block.exports.some((each) => each.type === "nbd");
  const nbd = isExporting ? await findNbd(process.cwd, read, JSON.stringify([chardevs, vnc])) : undefined;
  const machine = {
    qemu: { version: versionText(version), package: version.package },
    type: type.replace(/-machine$/, ""),
    name: textOf(name, "name"),
    uuid: textOf(uuid, "UUID"),
    status,
    qom,
    devices,
    objects,
    cpus: { count: cpus.length, slots: await ask("query-hotpluggable-cpus") },
    memory: {
      backends: (await ask("query-memdev")) ?? [],
      devices: await ask("query-memory-devices"),
      blocks: ram.map(({ block: { name: block, size }, fd }) => ({
        name: block,
        size,
        file: fd === undefined ? undefined : openFile(pid, fd, links.get(fd) ?? ""),
      })),
    },
    block: { ...block, nbd },
    chardevs,
    net,
    iothreads,
    vnc,
    spice: await ask("query-spice"),
    migration: {
      status: migration?.status,
      parameters: (await ask("query-migrate-parameters")) ?? {},
      capabilities: ((await ask("query-migrate-capabilities")) ?? []).flatMap((each) =>
        each.state ? [each.capability] : [],
      ),
    },
    balloon: await ask("query-balloon"),
    generationId: textOf(generation, "guid"),
    fdsets,
    traceEvents: traceEvents ? await readTraceEvents(asker) : undefined,
    process: read,
    unanswered: asker.unanswered,
  };
  return { machine: machineSchema.parse(withoutPasswords(machine)), said, fixed };
}

async function readTraceEvents({ ask }: Asker): Promise<string[]> {
  const all = (await ask("trace-event-get-state", { name: "*" })) ?? [];
  return all.flatMap(({ name, state }) => (state === "enabled" ? [name] : []));
}

/** A signal that follows `signal`: Node warns of a leak when more than ten commands wait with the same one. */
function forManyCommands(signal: AbortSignal | undefined): AbortSignal | undefined {
  if (signal === undefined) return undefined;
  const own = AbortSignal.any([signal]);
  setMaxListeners(0, own);
  return own;
}

function textOf(answer: unknown, key: string): string | undefined {
  if (typeof answer !== "object" || answer === null) return undefined;
  const value = (answer as Readonly<Record<string, unknown>>)[key];
  return typeof value === "string" ? value : undefined;
}
