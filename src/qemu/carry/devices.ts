// Devices that were added (device_add) or taken away (device_del) since the VM's start, and those of their properties
// that were changed: the new command line has the devices that the VM has now.

import { formatJson, withMembers } from "../command-line/members.ts";
import { objectParts } from "../command-line/monitors.ts";
import { type CommandOption, getValue, kindIn } from "../command-line/parse.ts";
import { blocker, type Finding } from "../finding.ts";
import type { Machine } from "../machine/schema.ts";
import { nodeNameFor } from "./block/state.ts";
import type { Carried, CarryInput, CarryPlan } from "./subject.ts";

/** Devices of the command line that are gone are left out, the others keep their places; what was added comes last. */
export function carryDevices({ machine, options }: CarryInput): Pick<CarryPlan, "options" | "carried" | "findings"> {
  const all = machine.devices.map((device) => ({
    ...device,
    options: withNodeName(machine, device.options),
    properties: propertiesOf(machine, device.path),
  }));
  const added = inOrder(all.filter(({ properties }) => properties["hotplugged"] === true));
  const { kept, removed, findings } = matchLine(
    options,
    all.filter(({ properties }) => properties["hotplugged"] !== true),
  );
  const gone = new Set(removed.map(({ option }) => option));
  // What QEMU has chosen by what was free would be chosen differently now.
  const isPinned = removed.length > 0;
  const changed = [...kept].map(([option, device]) => [option, rewritten(option, device, isPinned)] as const);
  const line = new Map(changed.filter(([option, value]) => option.value !== value));
  return {
    options: [
      ...options
        .filter((option) => !gone.has(option))
        .map((option) => (line.has(option) ? { ...option, value: line.get(option) } : option)),
      ...added.map((device) => ({ name: "device", value: optionOf(device, machine) })),
    ],
    carried: [
      ...added.map(({ id, type }) => carried(id, type, "plugged in since the start")),
      ...removed.map(({ id, driver }) => carried(id, driver, "unplugged since the start")),
      ...(isPinned ? [] : changed.filter(([option]) => line.has(option))).map(([option, value]) => {
        const device = kept.get(option);
        return carried(device?.id, device?.type ?? "", `changed since the start: ${value}`);
      }),
    ],
    findings,
  };
}

type Device = Machine["devices"][number] & { readonly properties: Readonly<Record<string, unknown>> };

/** A medium or snapshot without a name has one on the new command line. */
function withNodeName(machine: Machine, options: Device["options"]): Device["options"] {
  const { drive } = options;
  return typeof drive === "string" ? { ...options, drive: nodeNameFor(machine, drive) } : options;
}

function propertiesOf({ qom }: Machine, path: string): Device["properties"] {
  return qom.find((object) => object.path === path)?.properties ?? {};
}

function carried(id: string | undefined, type: string, what: string): Carried {
  const subject = id ?? type;
  return { subject, what: `${type}${id === undefined ? "" : ` ${id}`}: ${what}` };
}

interface LineDevice {
  readonly option: CommandOption;
  readonly id: string | undefined;
  readonly driver: string;
}

interface Matched {
  /** The device that each option has made. */
  readonly kept: ReadonlyMap<CommandOption, Device>;
  readonly removed: readonly LineDevice[];
  readonly findings: readonly Finding[];
}

/**
 * Which device each -device has made. One without an id is told by its number: QEMU numbers them in the order of their
 * creation, and never gives a number again (QEMU 10.0 system/qdev-monitor.c, qdev_set_id). Those in JSON are created
 * after all others (system/vl.c, qemu_create_cli_devices).
 */
function matchLine(options: readonly CommandOption[], present: readonly Device[]): Matched {
  const line = options.flatMap((option): LineDevice[] => {
    if (option.name !== "device" || option.value === undefined) return [];
    const parts = objectParts(option.value);
    // Of a pair for failover QEMU hides the one until the guest asks for it.
    if (getValue(parts, "failover_pair_id") !== undefined) return [];
    const driver = kindIn(parts, "driver") ?? "";
    return [{ option, id: getValue(parts, "id"), driver }];
  });
  const kept = new Map<CommandOption, Device>();
  const removed: LineDevice[] = [];
  for (const one of line.filter(({ id }) => id !== undefined)) {
    const device = present.find(({ id }) => id === one.id);
    if (device === undefined) removed.push(one);
    else kept.set(one.option, device);
  }
  const nameless = line.filter(({ id }) => id === undefined);
  const isJson = ({ option }: LineDevice) => option.value?.startsWith("{") === true;
  const early = nameless.filter((one) => !isJson(one));
  const byNumber = new Map(present.flatMap((each) => (each.id === undefined ? [[numberOf(each), each] as const] : [])));
  const made = [
    ...early.map((one, number) => ({ one, device: byNumber.get(number) })),
    ...nameless.filter(isJson).map((one, index) => {
      const number = early.length + options.filter(makesDevice).length + index;
      return { one, device: byNumber.get(number) };
    }),
  ];
  const wrong = made.find(({ one, device }) => device !== undefined && !isOf(one.driver, device.type));
  if (wrong !== undefined) {
    // Options that this list does not know have made some. As many as there were: nothing is gone.
    return { kept, removed, findings: byNumber.size >= nameless.length ? [] : [untold(wrong.one.driver)] };
  }
  for (const { one, device } of made) {
    if (device === undefined) removed.push(one);
    else kept.set(one.option, device);
  }
  return { kept, removed, findings: [] };
}

/** Options that make a device without an id, after those of -device with key=value (QEMU 10.0 blockdev.c, drive_new). */
function makesDevice({ name, value = "" }: CommandOption): boolean {
  return name === "virtfs" || (name === "drive" && getValue(objectParts(value), "if") === "virtio");
}

function numberOf({ path }: Device): number {
  return Number(/\[(\d+)\]$/.exec(path)?.[1]);
}

/** "virtio-blk" makes a virtio-blk-pci (QEMU 10.0 system/qdev-monitor.c, qdev_alias_table). */
function isOf(driver: string, type: string): boolean {
  return (
    driver === type || ["pci", "device", "ccw"].some((bus) => `${driver}-${bus}` === type) || aliases[driver] === type
  );
}

const aliases: Readonly<Record<string, string>> = {
  ahci: "ich9-ahci",
  "e1000-82540em": "e1000",
  lsi: "lsi53c895a",
  "virtio-input-host": "virtio-input-host-pci",
};

function untold(driver: string): Finding {
  const message = `a device without an id has been unplugged, and it can't be told which of the -device ${driver}`;
  return blocker("device-unplugged", message, "plug it in again, or give the whole new command line after --", driver);
}

/** The option of a device that is still there, with what was changed since, and its place if QEMU had chosen it. */
function rewritten({ value = "" }: CommandOption, device: Device, isPinned: boolean): string {
  const given = new Map(objectParts(value));
  const settings = Object.entries(device.options).filter(
    ([name, now]) => changeable.has(name) && String(now) !== given.get(name) && (given.has(name) || !isUnset(now)),
  );
  const place = isPinned ? Object.entries(placeOf(device)).filter(([name]) => !given.has(name)) : [];
  if (settings.length + place.length === 0) return value;
  return withMembers(value, Object.fromEntries([...place, ...settings]));
}

/** What qom-set can change while the VM runs. */
const changeable = new Set(["requested-size", "bootindex", "guest-stats-polling-interval", "smart_critical_warning"]);

function isUnset(value: unknown): boolean {
  return value === -1 || value === 0;
}

/** Where a device is, by options; also where QEMU has chosen it. */
function placeOf({ bus, options }: Device): Record<string, unknown> {
  const { addr } = options;
  const numbers = ["scsi-id", "lun", "channel", "unit", "nr", "slot", "port"].filter((name) => name in options);
  return {
    // On a bus of the mainboard without a name of its own there is nothing to choose.
    ...(bus === undefined ? {} : { bus: bus.slice(bus.lastIndexOf("/") + 1) }),
    ...(typeof addr === "number" ? { addr: bus === undefined ? addr : pciAddress(addr) } : {}),
    ...Object.fromEntries(numbers.map((name) => [name, options[name]])),
  };
}

/** "SLOT.FUNCTION", hexadecimal, of a number that has both. */
function pciAddress(devfn: number): string {
  return `${(devfn >> 3).toString(16)}.${devfn & 7}`;
}

/** A device that was plugged in, as JSON for -device. */
function optionOf(device: Device, machine: Machine): string {
  const { id, type, options, properties } = device;
  const cpu = cpuPlace(device, machine);
  const members = cpu ?? {
    ...Object.fromEntries(
      Object.entries(options)
        .filter(([name, value]) => isOption(name, value, device))
        // Read as text where JavaScript's numbers are too small.
        .map(([name, value]) => [
          name,
          typeof properties[name] === "number" && typeof value === "string" ? BigInt(value) : value,
        ]),
    ),
    // Empty: it was told not to have its type's ROM.
    ...(properties["romfile"] === "" ? { romfile: "" } : {}),
    ...(type === "usb-storage" ? diskWithin(device, machine) : {}),
    ...placeOf(device),
  };
  return formatJson({ driver: type, ...(id === undefined ? {} : { id }), ...members });
}

/** A usb-storage hands its disk on to a SCSI disk of its own (QEMU 10.0 hw/usb/dev-storage-classic.c). */
function diskWithin({ path }: Device, { qom }: Machine): Record<string, unknown> {
  const disk = qom.find((object) => object.path.startsWith(`${path}/`) && object.properties["drive"] !== undefined);
  const { drive, bootindex } = disk?.properties ?? {};
  return { ...(drive === undefined ? {} : { drive }), ...(isUnset(bootindex ?? -1) ? {} : { bootindex }) };
}

/** Of a CPU only its place: its features come from -cpu. */
function cpuPlace({ path }: Device, { cpus }: Machine): Record<string, unknown> | undefined {
  const slots = Array.isArray(cpus.slots) ? (cpus.slots as readonly CpuSlot[]) : [];
  return slots.find((slot) => slot["qom-path"] === path)?.props;
}

interface CpuSlot {
  readonly "qom-path"?: string;
  readonly props: Record<string, unknown>;
}

/** Whether -device takes a property that can be read. */
function isOption(name: string, value: unknown, { path, type, options }: Device): boolean {
  if (readOnly.has(name) || (name === "size" && type === "pc-dimm") || value === null) return false;
  if (name === "bootindex" || name === "guest-stats-polling-interval") return !isUnset(value);
  // The type's own ROM has a name without a folder.
  if (name === "romfile" || name === "romsize") return String(options["romfile"]).includes("/");
  // Links between the parts of a device, not to what it was given.
  if (typeof value === "string" && value.startsWith("/machine/")) {
    return value.startsWith("/machine/peripheral/") && value !== path && !value.startsWith(`${path}/`);
  }
  return true;
}

/** Listed as properties of a type, and told by QEMU alone. */
const readOnly = new Set(["busnr", "guest-stats", "feature-words", "attached", "hotplugged"]);

/** Those that others sit on come first; without ids, in the order of their creation. */
function inOrder(devices: readonly Device[]): Device[] {
  const isOn = (one: Device, other: Device) =>
    one.bus?.startsWith(`${other.path}/`) === true ||
    Object.values(one.options).includes(other.path) ||
    (one.bus === other.bus && String(one.options["port"]).startsWith(`${other.options["port"]}.`));
  const left = devices.toSorted((a, b) => (numberOf(a) || 0) - (numberOf(b) || 0));
  const ordered: Device[] = [];
  while (left.length > 0) {
    const at = left.findIndex((one) => !left.some((other) => other !== one && isOn(one, other)));
    ordered.push(...left.splice(Math.max(at, 0), 1));
  }
  return ordered;
}
