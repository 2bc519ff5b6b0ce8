// All that a preflight looks at, gathered once: from QMP, /proc and the new binary. Checks are functions of it.

import { existsSync, readFileSync, statfsSync } from "node:fs";
import { basename, dirname, join, resolve } from "node:path";
import { getNofileLimit, listFds, type WaitOptions } from "../../linux/index.ts";
import { statFile } from "../../linux/process/stat-file.ts";
import { allEnded } from "../../linux/wait/all-ended.ts";
import { CprkitError, isCprkitError } from "../../vmstate/error.ts";
import { planCarry } from "../carry/plan.ts";
import type { CarryPlan } from "../carry/subject.ts";
import { type Derived, type DeriveOptions, deriveCommandLine, prefixOf, publicName } from "../command-line/derive.ts";
import { objectParts, qmpSocketPaths } from "../command-line/monitors.ts";
import { type CommandOption, getValue, parseOptions } from "../command-line/parse.ts";
import { programWords } from "../command-line/program-words.ts";
import type { VmFd } from "../fds/fate.ts";
import { readVmFds } from "../fds/list.ts";
import { type MemoryBackend, memoryBackends, memoryFileFds } from "../fds/ram.ts";
import { readSockets } from "../fds/sockets.ts";
import { type Held, heldFds } from "../handover/held.ts";
import { takeFds } from "../handover/take.ts";
import { type Reading, readOpenMachine } from "../machine/read.ts";
import type { Machine } from "../machine/schema.ts";
import { ownPid } from "../namespaces/kinds.ts";
import { inside, outside } from "../namespaces/paths.ts";
import type { Qmp } from "../qmp/client.ts";
import { addedDevices, qomChildren, qomProperties } from "../qmp/qom.ts";
import type { QmpReturn } from "../qmp/schema.ts";
import {
  type CprModeName,
  compareVersions,
  machinesOf,
  type QemuAbilities,
  type UpdateModeName,
} from "../vm/binary.ts";
import { type Credentials, hasCapability, readCredentials } from "../vm/credentials.ts";
import { type Launcher, launcherFor, notStartable } from "../vm/launcher.ts";
import { askModes, isUnderWay } from "../vm/modes.ts";
import { askNewQemu, type NewQemu, type NewQemuCommand, newQemuCommand } from "../vm/new-qemu.ts";
import type { OpenVm } from "../vm/open.ts";
import type { VmProcess } from "../vm/process.ts";
import { stateBase } from "../vm/state-dir.ts";
import { compareDeviceStates, deviceTypes, type StateDifference } from "./device-states.ts";
import { type HostMemory, readHostMemory } from "./host-memory.ts";
import { tryCalls } from "./kernel-calls.ts";
import { type SystemdService, systemdService } from "./systemd-unit.ts";

/** A device that was made by -device or device_add. */
interface Device {
  /** Undefined for one without an id. */
  readonly id: string | undefined;
  /** Such as "virtio-blk-pci". */
  readonly type: string;
  /** Of an NVMe controller: its own drive, "" without one. */
  readonly drive?: string;
}

/** A tap interface that the VM has open. */
interface Tap {
  readonly name: string;
  /** Several processes may attach to it. */
  readonly multiqueue: boolean;
}

/** What an update is asked for, as far as it decides what must be looked at. */
export interface UpdateRequest extends WaitOptions {
  /** Program of the new QEMU; by default the one that the running one was started from. */
  readonly qemu?: string | undefined;
  /** The whole new command line, from the program on; by default derived from the running one. */
  readonly command?: readonly string[] | undefined;
  /** Default: the first of cpr-transfer, cpr-exec and, with `allowCopy`, copy that nothing is in the way of. */
  readonly mode?: UpdateModeName | undefined;
  /** Mode copy may be chosen, too. */
  readonly allowCopy?: boolean | undefined;
  /** Folder for journals, locks, sockets and logs, and of cpr-reboot's state. */
  readonly stateDir?: string | undefined;
  /** Updates with the same object ask a new QEMU binary once. Default: each asks anew. */
  readonly sharing?: object | undefined;
}

export interface Facts {
  readonly mode: UpdateModeName;
  /** True when both QEMUs live side by side: all modes but cpr-exec. */
  readonly sideBySide: boolean;
  readonly process: VmProcess;
  readonly options: readonly CommandOption[];
  readonly reading: Reading;
  /** The machine as it runs now, without the board's own properties: that of `reading`. */
  readonly runs: Machine;
  /** What cprkit carries itself. */
  readonly carry: CarryPlan;
  /** Of a command that was given whole: nothing. */
  readonly derived: Derived;
  /** By id of a memory-backend-file: where its file is found now, if not under its mem-path. */
  readonly memoryFiles: ReadonlyMap<string, string>;
  /** The GUID that a vmgenid device shows the guest. */
  readonly generationId: string | undefined;
  /** What the running QEMU has open that can be handed to a new process. */
  readonly takable: readonly Held[];
  /** Why nothing can, in words. */
  readonly untaken: string | undefined;
  /** The new QEMU's command line, from the program on. */
  readonly command: readonly string[];
  /** Absolute path of the new QEMU's QMP socket; undefined when its command line has none. */
  readonly newQmp: string | undefined;
  readonly launcher: Launcher;
  /** The systemd service that the running QEMU belongs to. */
  readonly service: SystemdService | undefined;
  readonly stateFolder: {
    readonly path: string;
    readonly freeBytes: number;
    /** The running QEMU sees it, too. */
    readonly isShared: boolean;
  };
  /** Without modes while a migration is under way: they can't be asked for then. */
  readonly abilities: QemuAbilities;
  /** The machine type with its version, such as "pc-q35-10.0". */
  readonly machine: string;
  /** Undefined where the property does not exist (before QEMU 10.0). */
  readonly auxRamShare: boolean | undefined;
  readonly accelerator: "kvm" | "tcg" | undefined;
  readonly runState: string;
  readonly migrationStatus: string | undefined;
  /** Capabilities that are on. */
  readonly capabilities: readonly string[];
  /** How a migration is set up now. */
  readonly settings: {
    readonly parameters: QmpReturn<"query-migrate-parameters">;
    readonly capabilities: QmpReturn<"query-migrate-capabilities">;
  };
  /** QEMU's own blockers for the mode; undefined when it could not be asked. */
  readonly blockedReasons: readonly string[] | undefined;
  readonly backends: readonly MemoryBackend[];
  readonly devices: readonly Device[];
  readonly chardevs: QmpReturn<"query-chardev">;
  readonly blockNodes: QmpReturn<"query-named-block-nodes">;
  readonly jobs: QmpReturn<"query-jobs">;
  readonly fds: readonly VmFd[];
  /** About how many further fds CPR carries: interrupts of VFIO devices. */
  readonly interrupts: number;
  readonly taps: readonly Tap[];
  /** Paths of UNIX sockets on which somebody listens. */
  readonly listening: ReadonlySet<string>;
  /** The running QEMU's fds in flight are not limited (unix(7), ETOOMANYREFS). */
  readonly inFlightUnlimited: boolean;
  readonly next: NewQemu;
  /** Only for an older new QEMU: device models whose state may not fit it, or why that is not known. */
  readonly stateDifferences: readonly StateDifference[] | CprkitError;
  readonly host: HostMemory;
  /** Of cprkit's own process. */
  readonly own: {
    readonly nofile: number;
    readonly fds: number;
    readonly credentials: Credentials;
    /** System calls that an update needs and this process may not make, with the kernel's answer. */
    readonly refusedCalls: readonly string[];
  };
}

/** What is known of the VM and the new QEMU, for any mode. */
export interface FactsOfModes {
  /** The mode that was asked for, else the first that both QEMUs know. */
  readonly usual: UpdateModeName;
  inMode(mode: UpdateModeName): Facts;
}

/**
 * Asks the VM and the new binary, side by side. If it fails, nothing that it has started is left, and the monitor is closed.
 *
 * @returns the facts for each mode
 * @throws CprkitError ERR_USAGE for a command with -incoming; as `Qmp.execute`, and for a process that may not be looked at
 */
export async function gatherFacts(vm: OpenVm, asked: UpdateRequest): Promise<FactsOfModes> {
  const { qmp, process, qmpPath } = vm;
  const { pid } = process.identity;
  if (asked.command?.includes("-incoming") === true) {
    throw new CprkitError("ERR_USAGE", "the command after -- must not have -incoming: cprkit adds its own");
  }
  const failed = new AbortController();
  const signal = asked.signal === undefined ? failed.signal : AbortSignal.any([asked.signal, failed.signal]);
  const [next, own, reading, service, refusedCalls] = await allEnded(
    [
      askNext(process, { ...asked, signal }),
      askVm(vm),
      readOpenMachine(vm, { ...asked, signal }, { switches: "leave out", addedOnly: true }),
      systemdService(process.cgroup),
      tryCalls(),
    ],
    () => {
      failed.abort();
      return qmp.close();
    },
  );
  const { options, machine, migration, fds } = own;
  const runs = reading.machine;
  const abilities = { version: qmp.greeting.version, modes: [...(own.modes?.keys() ?? [])], machines: own.machines };
  const differences = await stateDifferences(vm, options, machine, abilities, next, asked);
  const { memoryFiles, generationId } = own;
  const held = heldFds(process, fds, runs.fdsets);
  const { takable, untaken } = tryTaking(process, held);
  const common = {
    process,
    options,
    reading,
    runs,
    memoryFiles,
    generationId,
    takable,
    untaken,
    launcher: launcherFor(process),
    service,
    stateFolder: stateFolderOf(process, qmpPath, asked.stateDir),
    abilities,
    machine,
    auxRamShare: own.auxRamShare,
    accelerator: acceleratorOf(own.kvm.enabled, options),
    runState: own.status.status,
    migrationStatus: migration.status,
    capabilities: own.capabilities.filter(({ state }) => state).map(({ capability }) => capability),
    settings: { parameters: own.parameters, capabilities: own.capabilities },
    backends: own.backends,
    devices: own.devices,
    chardevs: own.chardevs,
    blockNodes: own.blockNodes,
    jobs: own.jobs,
    fds,
    interrupts: own.interrupts,
    taps: [...new Set(fds.flatMap(({ what }) => /^tap (.*)$/.exec(what)?.[1] ?? []))].map(tapOf),
    listening: listeningFor(process),
    inFlightUnlimited: [capSysResource, capSysAdmin].some((each) => hasCapability(process.credentials.effective, each)),
    next,
    stateDifferences: differences,
    host: readHostMemory(pid),
    own: {
      nofile: getNofileLimit().soft,
      fds: listFds().length,
      credentials: readCredentials("self"),
      refusedCalls,
    },
  };
  const takesCpr = "abilities" in next.said && next.said.auxRamShare && next.said.abilities.modes.length > 0;
  const inMode = (mode: UpdateModeName): Facts => {
    const sideBySide = mode !== "cpr-exec";
    const carry = planCarry({ machine: runs, options, mode, process, takesCpr });
    // A copy gets a new file in the same folder.
    const files = mode === "copy" ? undefined : memoryFiles;
    const how = { machine, sideBySide, memoryFiles: files, generationId, held: sideBySide ? takable : held };
    const derived = deriveFor(process, carry.options, asked, how);
    const command = asked.command ?? [...next.words, ...derived.args];
    const [serves] = qmpSocketPaths(parseOptions(command.slice(1)), process.cwd);
    const newQmp = newQmpPath(vm, derived, serves);
    const blockedReasons = mode === "copy" ? blockersOfCopy(migration) : own.modes?.get(mode);
    return { ...common, mode, sideBySide, carry, derived, command, newQmp, blockedReasons };
  };
  return { usual: asked.mode ?? bestMode(abilities, next), inMode };
}

function acceleratorOf(isKvm: boolean, options: readonly CommandOption[]): Facts["accelerator"] {
  if (isKvm) return "kvm";
  return options.some(usesTcg) ? "tcg" : undefined;
}

/** QEMU tells them of the mode that is set; an older QEMU has only one. */
function blockersOfCopy(migration: QmpReturn<"query-migrate">): readonly string[] {
  return migration["blocked-reasons"] ?? [];
}

/** What can be handed to a new process, or why nothing can: all is taken once and closed. */
function tryTaking({ identity }: VmProcess, held: readonly Held[]): Pick<Facts, "takable" | "untaken"> {
  try {
    takeFds(identity, held).close();
    return { takable: held, untaken: undefined };
  } catch (error) {
    if (isCprkitError(error)) return { takable: [], untaken: error.reason };
    throw error;
  }
}

/** Asks the QEMU that is to take over. One that can't be used is an answer, too. @throws CprkitError ERR_ABORTED */
export async function askNext(
  running: VmProcess,
  { qemu, command, timeoutMs, signal, sharing }: UpdateRequest,
): Promise<NewQemu> {
  const asked = command?.[0] ?? qemu;
  const how = newQemuCommand(running, asked);
  const failed = (error: CprkitError) => ({ ...how, program: how.words.at(-1) ?? how.words[0], said: { error } });
  const problems = notStartable(running);
  if (problems.length > 0) {
    // The program, its libraries and its environment are that user's choice, and would run with our rights.
    const what = `process ${running.identity.pid} has rights or namespaces that cprkit can't give to another one`;
    return failed(new CprkitError("ERR_UPDATE_REFUSED", `${what}: ${problems.join("; ")}. Nothing was started`));
  }
  if (asked === undefined && !existsSync(outside(running, how.words[0]))) {
    const text = `the program of process ${running.identity.pid}, ${how.words[0]}, is not there any more`;
    return failed(new CprkitError("ERR_QEMU_NOT_FOUND", `${text}: name the new one with --qemu`));
  }
  return askNewQemu(how, running, { timeoutMs, signal, sharing });
}

/** What the VM says by itself, without anything known of the new QEMU. */
async function askVm(vm: OpenVm) {
  const { qmp, qmpInside: qmpPath, process } = vm;
  const [options, machineClass, auxRamShare, status, migration, parameters, capabilities] = await Promise.all([
    vm.options(),
    machineProperty(qmp, "type"),
    machineProperty(qmp, "aux-ram-share"),
    qmp.execute("query-status"),
    qmp.execute("query-migrate"),
    qmp.execute("query-migrate-parameters"),
    qmp.execute("query-migrate-capabilities"),
  ]);
  // A migration's parameters must stay as they are.
  const modes = isUnderWay(migration.status) ? undefined : await askModes(qmp, parameters.mode);
  const [machines, kvm, backends, devices, chardevs, blockNodes, jobs, { fds, interrupts }, generationId] =
    await Promise.all([
      machinesOf(qmp),
      qmp.execute("query-kvm"),
      memoryBackends(qmp),
      devicesOf(qmp),
      qmp.execute("query-chardev"),
      qmp.execute("query-named-block-nodes"),
      qmp.execute("query-jobs"),
      readVmFds(process.identity.pid, { qmp, qmpPath, options }),
      generationIdOf(qmp, options),
    ]);
  return {
    options,
    machine: String(machineClass).replace(/-machine$/, ""),
    auxRamShare: typeof auxRamShare === "boolean" ? auxRamShare : undefined,
    status,
    migration,
    parameters,
    capabilities,
    modes,
    machines,
    kvm,
    backends,
    devices,
    chardevs,
    blockNodes,
    jobs,
    fds,
    interrupts,
    memoryFiles: await movedMemoryFiles(vm, options, backends, fds),
    generationId,
  };
}

/** Those of its own network namespace and of ours: a path leads to a socket of any. */
function listeningFor({ identity, namespaces }: VmProcess): ReadonlySet<string> {
  const pids = namespaces.includes("net") || namespaces.includes("mnt") ? [identity.pid, process.pid] : [identity.pid];
  const sockets = pids.flatMap((pid) => [...readSockets(pid, []).values()]);
  return new Set(sockets.flatMap(({ kind, at }) => (kind === "listening" && at ? [at] : [])));
}

/** Where this process gets to the new QEMU's monitor, in the folder of the running one's if it is that one's successor. */
function newQmpPath(vm: OpenVm, { moved, handed }: Derived, serves: string | undefined): string | undefined {
  const { process, qmpPath, qmpInside } = vm;
  // The very socket that we are connected to.
  if (handed.some(({ what }) => what === `unix ${qmpInside}`)) return qmpPath;
  const successor = moved.find((name) => name.old === qmpInside)?.new;
  if (successor !== undefined) return join(dirname(qmpPath), basename(successor));
  return serves === undefined ? undefined : outside(process, serves);
}

/** Files of guest RAM that their mem-path does not lead to: it is a folder, or the file has been removed or replaced. */
async function movedMemoryFiles(
  { process, qmp }: OpenVm,
  options: readonly CommandOption[],
  backends: readonly MemoryBackend[],
  fds: readonly VmFd[],
): Promise<ReadonlyMap<string, string>> {
  const { pid } = process.identity;
  const links = new Map(fds.map(({ fd, link }) => [fd, link]));
  const moved = new Map<string, string>();
  for (const [id, fd] of await memoryFileFds(pid, qmp, links, backends)) {
    const parts = options.flatMap(({ name, value = "" }) => (name === "object" ? [objectParts(value)] : []));
    const path = getValue(parts.find((each) => getValue(each, "id") === id) ?? [], "mem-path");
    const [open, named] = [`/proc/${pid}/fd/${fd}`, path === undefined ? undefined : resolve(process.cwd, path)];
    const is = statFile(open);
    const isIt = (name: string | undefined) => {
      const there = name === undefined ? undefined : statFile(outside(process, name));
      return there !== undefined && there.ino === is?.ino && there.dev === is.dev;
    };
    if (is === undefined || isIt(named)) continue;
    // In a pid namespace of its own the process has another number there.
    const inner = `/proc/${ownPid(pid)}/fd/${fd}`;
    moved.set(id, isIt(inner) ? inner : open);
  }
  return moved;
}

async function generationIdOf(qmp: Qmp, options: readonly CommandOption[]): Promise<string | undefined> {
  const has = options.some(({ name, value = "" }) => name === "device" && value.includes("vmgenid"));
  return has ? (await qmp.execute("query-vm-generation-id")).guid : undefined;
}

/** Without one that both know the checks name what is missing. */
function bestMode({ modes }: QemuAbilities, { said }: NewQemu): CprModeName {
  const there = "abilities" in said ? said.abilities.modes : modes;
  return modes.find((mode) => mode !== "cpr-reboot" && there.includes(mode)) ?? "cpr-transfer";
}

/** How the running command line becomes the new one's; a command that was given whole is left as it is. */
export function deriveFor(
  process: VmProcess,
  options: readonly CommandOption[],
  { qemu, command }: UpdateRequest,
  how: Pick<DeriveOptions, "sideBySide" | "machine" | "memoryFiles" | "generationId" | "held" | "sockets">,
): Derived {
  if (command !== undefined) return { args: [], moved: [], handed: [], findings: [] };
  const { cwd, program } = process;
  const exists = (path: string) => existsSync(outside(process, path));
  return deriveCommandLine(options, {
    cwd,
    oldPrefix: qemu === undefined ? undefined : prefixOf(program),
    exists,
    ...how,
  });
}

function stateFolderOf(process: VmProcess, qmpPath: string, stateDir: string | undefined): Facts["stateFolder"] {
  const publicQmp = publicName(qmpPath);
  const path = stateBase(stateDir, publicQmp) ?? join(dirname(publicQmp), ".cprkit");
  let at = resolve(path);
  while (!existsSync(at)) at = dirname(at);
  const { bavail, bsize } = statfsSync(at);
  return { path, freeBytes: bavail * bsize, isShared: inside(process, at) !== undefined };
}

/** undefined where the machine has no such property. */
async function machineProperty(qmp: Qmp, property: string): Promise<unknown> {
  return (await qomProperties(qmp, "/machine", [property]))[property];
}

async function devicesOf(qmp: Qmp): Promise<Device[]> {
  const devices: Device[] = [];
  for (const folder of addedDevices) {
    for (const { name, path, type } of await qomChildren(qmp, folder)) {
      const drive = type === "nvme" ? await qmp.execute("qom-get", { path, property: "drive" }) : undefined;
      const id = folder === "/machine/peripheral" ? name : undefined;
      devices.push({ id, type, ...(typeof drive === "string" ? { drive } : {}) });
    }
  }
  return devices;
}

const capSysAdmin = 21n;
const capSysResource = 24n;

/** One of another network namespace than ours is taken for the usual kind. */
function tapOf(name: string): Tap {
  const iffMultiQueue = 0x100;
  try {
    const flags = Number(readFileSync(`/sys/class/net/${name}/tun_flags`, "utf8"));
    return { name, multiqueue: (flags & iffMultiQueue) !== 0 };
  } catch {
    return { name, multiqueue: false };
  }
}

function usesTcg({ name, value = "" }: CommandOption): boolean {
  return (name === "accel" && /^(accel=)?tcg/.test(value)) || (name === "machine" && /\baccel=tcg/.test(value));
}

async function stateDifferences(
  { process, qmp }: OpenVm,
  options: readonly CommandOption[],
  machine: string,
  { version }: QemuAbilities,
  { words, env, said }: NewQemu,
  { timeoutMs, signal }: WaitOptions,
): Promise<readonly StateDifference[] | CprkitError> {
  const isOlder = "abilities" in said && compareVersions(said.abilities.version, version) < 0;
  if (!isOlder || !said.abilities.machines.some(({ name }) => name === machine)) return [];
  const { identity } = process;
  const firmware = options.flatMap(({ name, value = "" }) => (name === "L" ? ["-L", value] : []));
  // The very program that runs, even if its file has been replaced.
  const [, ...rest] = programWords(process);
  const running: NewQemuCommand = { words: [`/proc/${identity.pid}/exe`, ...rest, ...firmware], env: process.env };
  try {
    const types = await deviceTypes(qmp);
    return await compareDeviceStates(process, [running, { words, env }], machine, types, { timeoutMs, signal });
  } catch (error) {
    if (!isCprkitError(error) || error.code === "ERR_ABORTED") throw error;
    return error;
  }
}
