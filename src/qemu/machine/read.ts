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
import { type QomTree, readQom, type TreeOptions } from "./tree/qom.ts";

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
export interface ReadingOptions extends TreeOptions {
  /** A reading of the same process, or of another one of the same program. */
  readonly before?: Reading | undefined;
  /** False: trace events are not read, the longest answer of all. */
  readonly traceEvents?: boolean;
}

/** The same over a monitor that is open. @throws CprkitError as {@link readMachine} */
export async function readOpenMachine(
  { qmp, process }: Pick<OpenVm, "qmp" | "process">,
  options: WaitOptions,
  { before, traceEvents = true, paths = before?.machine.qom.map(({ path }) => path), ...tree }: ReadingOptions = {},
): Promise<Reading> {
  const wait = { ...options, signal: forManyCommands(options.signal) };
  const fixed = before?.fixed ?? new Map<string, unknown>();
  const asker = askerOf(qmp, wait, fixed);
  const { ask } = asker;
  const { pid } = process.identity;
  const links = fdLinks(pid);
  const { version } = qmp.greeting;
  const fdsets = ask("query-fdsets").then((sets = []) => sets);
  const known = before && { objects: before.machine.qom, said: before.said };
  // Asked in one go, as far as no answer is needed for the next question.
  const [
    { objects: qom, said },
    block,
    net,
    status,
    cpus = [],
    iothreads = [],
    ram,
    chardevs = [],
    vnc = [],
    ...others
  ] = await Promise.all([
    readQom(qmp, asker, wait, { ...tree, paths }, known),
    readBlock(asker, process, links, fdsets),
    readNet(asker),
    qmp.execute("query-status", undefined, wait),
    ask("query-cpus-fast"),
    ask("query-iothreads"),
    mappedRam(pid, qmp, links),
    ask("query-chardev"),
    ask("query-vnc-servers"),
    ask("query-name"),
    ask("query-uuid"),
    ask("query-vm-generation-id"),
    ask("query-migrate"),
    ask("query-migrate-parameters"),
    ask("query-migrate-capabilities"),
    ask("query-hotpluggable-cpus"),
    ask("query-memdev"),
    ask("query-memory-devices"),
    ask("query-spice"),
    ask("query-balloon"),
    traceEvents ? readTraceEvents(asker) : undefined,
  ]);
  const [name, uuid, generation, migration, parameters = {}, capabilities = [], ...rest] = others;
  const [slots, backends = [], memoryDevices, spice, balloon, events] = rest;
  const [devices, objects] = await Promise.all([readDevices(asker, qom), readObjects(asker, qom)]);
  const type = qom.find(({ path }) => path === "/machine")?.type ?? "";
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
    cpus: { count: cpus.length, slots },
    memory: {
      backends,
      devices: memoryDevices,
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
    spice,
    migration: {
      status: migration?.status,
      parameters,
      capabilities: capabilities.flatMap((each) => (each.state ? [each.capability] : [])),
    },
    balloon,
    generationId: textOf(generation, "guid"),
    fdsets: await fdsets,
    traceEvents: events,
    process: read,
    unanswered: asker.unanswered,
  };
  return { machine: machineSchema.parse(withoutPasswords(machine)), said, fixed };
}

/** Of some thousands none is on, mostly, which the human monitor says in a third of the time. */
async function readTraceEvents({ ask, askHuman }: Asker): Promise<string[]> {
  // One search for all lines: each on its own takes twenty times as long the first time.
  if (/^(?:\S+ : state 0\r?\n)+$/.test(await askHuman("info trace-events"))) return [];
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
