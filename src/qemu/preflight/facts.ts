// All that a preflight looks at, gathered once: from QMP, /proc and the new binary. Checks are functions of it.

import { readFileSync } from "node:fs";
import { getNofileLimit, listFds, type WaitOptions } from "../../linux/index.ts";
import { readProcessFile } from "../../linux/process/proc.ts";
import { type CprkitError, isCprkitError } from "../../vmstate/error.ts";
import { type Derived, deriveCommandLine, prefixOf } from "../command-line/derive.ts";
import { type CommandOption, parseOptions } from "../command-line/parse.ts";
import type { VmFd } from "../fds/fate.ts";
import { listVmFds } from "../fds/list.ts";
import { type MemoryBackend, memoryBackends } from "../fds/ram.ts";
import { readSockets } from "../fds/sockets.ts";
import type { Qmp } from "../qmp/client.ts";
import { addedDevices, qomChildren, qomProperties } from "../qmp/qom.ts";
import type { QmpReturn } from "../qmp/schema.ts";
import { abilitiesOf, type CprModeName, compareVersions, type QemuAbilities } from "../vm/binary.ts";
import { type NewQemu, type NewQemuCommand, programWords } from "../vm/new-qemu.ts";
import type { OpenVm, VmProcess } from "../vm/process.ts";
import { blockedReasons } from "./blocked-reasons.ts";
import { compareDeviceStates, deviceTypes, type StateDifference } from "./device-states.ts";
import { type HostMemory, readHostMemory } from "./host-memory.ts";

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

export interface Facts {
  readonly mode: CprModeName;
  /** True when both QEMUs live side by side: all modes but cpr-exec. */
  readonly sideBySide: boolean;
  readonly process: VmProcess;
  readonly options: readonly CommandOption[];
  readonly derived: Derived;
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
  /** QEMU's own blockers for the mode; undefined when it could not be asked. */
  readonly blockedReasons: readonly string[] | undefined;
  readonly backends: readonly MemoryBackend[];
  readonly devices: readonly Device[];
  readonly chardevs: QmpReturn<"query-chardev">;
  readonly blockNodes: QmpReturn<"query-named-block-nodes">;
  readonly fds: readonly VmFd[];
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
  readonly own: { readonly nofile: number; readonly fds: number; readonly uid: number | undefined };
}

/** Asks the VM. @throws CprkitError as `Qmp.execute` and for a process that may not be looked at */
export async function gatherFacts(vm: OpenVm, mode: CprModeName, next: NewQemu, wait: WaitOptions): Promise<Facts> {
  const { qmp, process, qmpPath } = vm;
  const { pid } = process.identity;
  const options = parseOptions(process.argv.slice(1));
  const sideBySide = mode !== "cpr-exec";
  const abilities = await abilitiesOf(qmp);
  const [machineClass, status, migration, parameters, capabilities, kvm] = await Promise.all([
    machineProperty(qmp, "type"),
    qmp.execute("query-status"),
    qmp.execute("query-migrate"),
    qmp.execute("query-migrate-parameters"),
    qmp.execute("query-migrate-capabilities"),
    qmp.execute("query-kvm"),
  ]);
  const machine = String(machineClass).replace(/-machine$/, "");
  const fds = await listVmFds(pid, { qmp, qmpPath, options });
  const auxRamShare = await machineProperty(qmp, "aux-ram-share");
  return {
    mode,
    sideBySide,
    process,
    options,
    derived: deriveCommandLine(options, {
      cwd: process.cwd,
      sideBySide,
      machine,
      oldPrefix: prefixOf(process.program),
    }),
    abilities,
    machine,
    auxRamShare: typeof auxRamShare === "boolean" ? auxRamShare : undefined,
    accelerator: kvm.enabled ? "kvm" : options.some(usesTcg) ? "tcg" : undefined,
    runState: status.status,
    migrationStatus: migration.status,
    capabilities: capabilities.filter(({ state }) => state).map(({ capability }) => capability),
    blockedReasons: await blockedReasons(qmp, { mode, known: abilities.modes, present: parameters.mode, migration }),
    backends: await memoryBackends(qmp),
    devices: await devicesOf(qmp),
    chardevs: await qmp.execute("query-chardev"),
    blockNodes: await qmp.execute("query-named-block-nodes"),
    fds,
    taps: [...new Set(fds.flatMap(({ what }) => /^tap (.*)$/.exec(what)?.[1] ?? []))].map(tapOf),
    listening: new Set(
      [...readSockets(pid).values()].flatMap(({ kind, at }) => (kind === "listening" && at ? [at] : [])),
    ),
    inFlightUnlimited: hasCapability(pid, capSysResource) || hasCapability(pid, capSysAdmin),
    next,
    stateDifferences: await stateDifferences(vm, machine, abilities, next, wait),
    host: readHostMemory(pid),
    own: { nofile: getNofileLimit().soft, fds: listFds().length, uid: globalThis.process.geteuid?.() },
  };
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

/** Whether a process has a capability in force (capabilities(7)). */
function hasCapability(pid: number, bit: bigint): boolean {
  const effective = /^CapEff:\s+([0-9a-f]+)$/m.exec(readProcessFile(pid, "status"))?.[1] ?? "0";
  return ((BigInt(`0x${effective}`) >> bit) & 1n) === 1n;
}

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
  machine: string,
  { version }: QemuAbilities,
  { words, env, said }: NewQemu,
  wait: WaitOptions,
): Promise<readonly StateDifference[] | CprkitError> {
  const isOlder = "abilities" in said && compareVersions(said.abilities.version, version) < 0;
  if (!isOlder || !said.abilities.machines.some(({ name }) => name === machine)) return [];
  const { argv, cwd, identity } = process;
  const firmware = parseOptions(argv.slice(1)).flatMap(({ name, value = "" }) => (name === "L" ? ["-L", value] : []));
  // The very program that runs, even if its file has been replaced.
  const [, ...rest] = programWords(process);
  const running: NewQemuCommand = { words: [`/proc/${identity.pid}/exe`, ...rest, ...firmware], env: process.env };
  try {
    return await compareDeviceStates(running, { words, env }, machine, await deviceTypes(qmp), { ...wait, cwd });
  } catch (error) {
    if (!isCprkitError(error) || error.code === "ERR_ABORTED") throw error;
    return error;
  }
}
