// The one table of what may differ between two machines that are the same, with a reason for each. All else is a
// difference. Pure.

import { isMemoryFile } from "../fds/ram.ts";
import { namedBlocks } from "./canonical.ts";
import type { Machine } from "./schema.ts";

/** One value that is not the same in both. */
export interface MachineDifference {
  /** Such as "block.devices[drive0].limits.bps" or "qom[/machine/peripheral/net0].properties.netdev". */
  readonly path: string;
  /** undefined: it is not there. */
  readonly old: unknown;
  /** undefined: it is not there. */
  readonly new: unknown;
}

/** Why a value may differ. Append only. */
export const differenceReasons = {
  process: "another process has other process, thread and fd numbers",
  memory: "each process makes memory files of its own, until CPR hands over the old ones",
  copied: "guest RAM is copied into memory that CPR can hand over",
  waiting: "the new QEMU waits for the state of the old one",
  update: "the update itself sets it",
  handed: "cprkit hands over an fd, which the new QEMU names by its number",
  client: "a client of a socket is connected to one of the two",
  guest: "it goes on by itself, or the guest sets it",
  allocation: "the space that an image takes of its disk changes",
  program: "two versions of QEMU",
  command: "only one of the two versions has the command, and nothing can be asked",
  internal: "an internal property (x-) that only one of the two versions has; the machine type sets it",
  "new-switch": "only one of the two versions has the property, and it is off or empty there",
  "fixed-by-type": "only one of the two versions has the property; the machine type sets it",
  "new-default": "one version shows the default as 0, the other as the number that it stands for",
  unversioned: "the machine type has no version: each QEMU gives it its own defaults",
  "new-parameter": "only one of the two versions has the migration parameter",
  "new-answer": "only one of the two versions tells it",
  moved: "the version keeps the part in another place of its tree",
  "failed-request": "QEMU keeps the request of a disk that has failed, to try it again, but not the mark on the disk",
  "job-over": "a job that is over, and only was not dismissed",
  "own-object": "an object that this version makes for itself",
} as const satisfies Record<string, string>;

/** One of {@link differenceReasons}. */
export type DifferenceReason = keyof typeof differenceReasons;

/** Why this difference is by design; undefined if it is not. */
export function reasonOf(difference: MachineDifference, old: Machine, next: Machine): DifferenceReason | undefined {
  const isOtherVersion = old.qemu.version !== next.qemu.version;
  const fits = ({ path, when }: Rule) => path.test(difference.path) && (when?.(difference, old, next) ?? true);
  return (rules.find(fits) ?? (isOtherVersion ? versionRules.find(fits) : undefined))?.reason;
}

/** The same where guest RAM was copied: its backends may be of another kind, not of another size. */
export function reasonOfCopy({ path }: MachineDifference, old: Machine): DifferenceReason | undefined {
  if (/^qom\[\/machine\]\.properties\.(aux-ram-share|memory-backend)$/.test(path)) return "copied";
  if (/^memory\.(blocks$|blocks\[.*\]\.file\b|backends\[.*\]\.(share|prealloc|reserve)$)/.test(path)) return "copied";
  const object = /^(?:qom\[\/objects\/|objects\[)(.*?)\](.*)$/.exec(path);
  const isBackend = old.memory.backends.some(({ id }) => id !== undefined && id === object?.[1]);
  return isBackend && !/\.(size|host-nodes|policy)$/.test(object?.[2] ?? "") ? "copied" : undefined;
}

interface Rule {
  readonly reason: DifferenceReason;
  readonly path: RegExp;
  /** What else must be so. */
  readonly when?: (difference: MachineDifference, old: Machine, next: Machine) => boolean;
}

const rules: readonly Rule[] = [
  { reason: "process", path: /^process\.pid$/ },
  { reason: "process", path: /[.\]]thread-id$/ },
  { reason: "process", path: /\.(open|file)\.fd$/ },
  {
    reason: "process",
    path: /^fdsets\[.*\]\.fds$/,
    when: ({ old, new: next }) => withoutNumbers(old) === withoutNumbers(next),
  },
  {
    reason: "memory",
    path: /^memory\.blocks\[.*\]\.file\.inode$/,
    when: ({ path }, old) =>
      namedBlocks(old.memory.blocks).some(
        ({ name, file }) => path.includes(`[${name}]`) && isMemoryFile(file?.link ?? ""),
      ),
  },
  { reason: "waiting", path: /^status\./, when: (_, __, next) => next.status.status === "inmigrate" },
  {
    reason: "waiting",
    // The tray of a drive is in its state; bitmaps come with the stream, or are read from the image at the end.
    path: /^block\.(nodes\[.*\]\.(other\.active|bitmaps\b.*)|devices\[.*\]\.trayOpen)$/,
    when: (_, __, next) => next.status.status === "inmigrate",
  },
  // How much of its memory the guest has taken comes with its state.
  {
    reason: "waiting",
    path: /^(memory\.devices|qom|devices)\[.*\]\.(data|properties|options)\.size$/,
    when: ({ path }, old, next) => next.status.status === "inmigrate" && isVirtioMem(path, old),
  },
  // The old QEMU has them until the guest stops.
  {
    reason: "waiting",
    path: /^block\.(exports|nbd)\b/,
    when: (_, __, next) => next.status.status === "inmigrate",
  },
  {
    reason: "waiting",
    path: /^process\.(sockets\[.*\]|tcp)$/,
    when: ({ path }, { block: { nbd } }, next) =>
      next.status.status === "inmigrate" &&
      (nbd?.address.type === "unix" ? path.includes(nbd.address.path) : nbd !== undefined && path.endsWith("tcp")),
  },
  // The very file that the old process has open: what is compared is the file's number, in memory.blocks.
  {
    reason: "memory",
    path: /^(qom|objects)\[.*\]\.(properties|options)\.mem-path$/,
    when: ({ old, new: next }) => [old, next].some((path) => /^\/proc\/\d+\/fd\/\d+$/.test(String(path))),
  },
  { reason: "update", path: /^migration\.(status|parameters\.(mode|cpr-exec-command))$/ },
  // QMP leaves open, and the command line says, what matters to abstract names alone.
  {
    reason: "update",
    path: /^qom\[\/chardevs\/.*\]\.properties\.addr\.(tight|abstract)$/,
    when: ({ path, old, new: next }) => (old ?? next) === path.endsWith("tight"),
  },
  // Switched on when the old QEMU has ended.
  { reason: "update", path: /^traceEvents$/, when: (_, __, next) => next.status.status === "inmigrate" },
  // Only one of the two can have the ports; they are forwarded again when the old QEMU has ended.
  {
    reason: "update",
    path: /^net\.forwards(\[.*\])?$/,
    when: ({ new: there }, _, next) =>
      next.status.status === "inmigrate" && (there === undefined || (Array.isArray(there) && there.length === 0)),
  },
  {
    reason: "update",
    path: /^process\.tcp$/,
    when: ({ old: here, new: there }, old, next) =>
      next.status.status === "inmigrate" &&
      Array.isArray(here) &&
      Array.isArray(there) &&
      here.every((port) => there.includes(port) || isOpenedLater(String(port), old, next)),
  },
  {
    reason: "update",
    path: /^vnc\[.*\]\.server$/,
    when: ({ new: there }, _, next) => next.status.status === "inmigrate" && Array.isArray(there) && there.length === 0,
  },
  {
    reason: "update",
    path: /^(chardevs\[(gdb|#chr\d+)\]|qom\[\/chardevs\/(gdb|#chr\d+)\])/,
    when: (difference, _, next) => next.status.status === "inmigrate" || difference.path.includes("#chr"),
  },
  {
    reason: "update",
    path: /^(chardevs|qom)\[.*\]/,
    when: ({ path }, old, next) => isExchangedLater(/\[(?:\/chardevs\/)?(.*?)\]/.exec(path)?.[1] ?? "", old, next),
  },
  // What was added since the start is on the new command line.
  { reason: "update", path: /\.hotplugged$/ },
  // cprkit's own, of this update or of one before.
  { reason: "update", path: /^(qom\[\/(objects|chardevs)\/cprkit-qmp\]|(objects|chardevs)\[cprkit-qmp\])/ },
  { reason: "update", path: /^process\.sockets\[.*\/[0-9a-f]{6}\/q\]/ },
  // With several queues a name is there several times, and the lists are compared as one.
  { reason: "handed", path: /^net\.clients(\[.*\]\.(info|type))?$/, when: (_, old, next) => isSameButTaps(old, next) },
  // The one that QEMU had chosen; the one in use is among the device's options.
  { reason: "update", path: /^qom\[.*\]\.properties\.port$/, when: ({ old, new: next }) => old === "" || next === "" },
  {
    reason: "client",
    path: /^chardevs\[.*\]\.filename$/,
    when: ({ old, new: next }) => withoutClient(old) === withoutClient(next),
  },
  // A stream that connects does so after the machine is built; one that listens has no peer, or cprkit, until then.
  {
    reason: "client",
    path: /^net\.clients\[.*\]\.info$/,
    when: ({ old, new: next }) =>
      [old, next].some((info) => info === "connecting") || [old, next].every((info) => isStreamState(info)),
  },
  { reason: "client", path: /^(vnc\[.*|spice)\.(clients|channels)|^qom\[\/chardevs\/.*\]\.properties\.connected$/ },
  { reason: "guest", path: /^chardevs\[.*\]\.frontend-open$/ },
  { reason: "guest", path: /^(qom|devices)\[.*\]\.(properties|options)\.(rtc-time|date|guest-stats)(?![\w-])/ },
  // Where the firmware has put them.
  {
    reason: "guest",
    path: /^(qom|devices)\[.*\]\.(properties|options)\.(MCFG|mcfg_size|pm_io_base|gpe0_blk|smb_io_base|busnr)$/,
  },
  {
    reason: "guest",
    path: /^qom\[.*\]\.properties\.cpu-hotplug-legacy$/,
    when: (difference) => !isOnOneSide(difference),
  },
  // The driver switches it.
  { reason: "guest", path: /^block\.devices\[.*\]\.(writeback|locked)$/ },
  { reason: "guest", path: /^balloon\.actual$/ },
  { reason: "guest", path: /^block\.(nodes\[.*\]\.bitmaps\[.*\]\.count|jobs\[.*\]\.(current|total)-progress)$/ },
  { reason: "allocation", path: /^block\.nodes\[.*\]\.other\.actual-size$/ },
  {
    reason: "failed-request",
    path: /^block\.devices\[.*\]\.ioStatus$/,
    when: (_, old) => old.status.status === "io-error",
  },
  {
    reason: "job-over",
    path: /^block\.jobs\b/,
    when: (_, { block: { jobs } }) => jobs.every(({ status }) => status === "concluded" || status === "null"),
  },
  // Of the file of an image that grows; of a raw image the node above has the same size.
  {
    reason: "allocation",
    path: /^block\.nodes\[.*\]\.size$/,
    when: ({ path }, old) =>
      /\.file\]/.test(path) ||
      old.block.nodes.some(({ name, driver }) => driver === "file" && path === `block.nodes[${name}].size`),
  },
  // What is stored in the image, not what is in memory.
  { reason: "update", path: /^block\.nodes\[.*\]\.other\.format-specific\.data\.bitmaps\b/ },
];

/**
 * On in every machine type that has them: QEMU has dropped, or added, them for all types alike. Or, as legacy-multi-node, on in
 * the older types: an older QEMU does so without a switch.
 */
const fixedByType = [
  ...[
    "migrate",
    "migrate-extra",
    "hpet-offset-saved",
    "cpu-hotplug-legacy",
    "full-cpuid-auto-level",
    "legacy-multi-node",
  ],
  ...["emergency-write", "format_transport_address", "spcr", "bus"],
  ...["memory-hotplug-support", "smm-enabled", "smm-ranges", "fd-bootchk", "has-acpi", "pci-type"],
  ...["below-4g-mem-size", "mitigation", "autonegotiation", "extra_mac_registers", "use-timer", "ioeventfd"],
  ...["prog_if", "wheel-axis", "ppi", "pt", "dma-drain", "endianness", "encoding"],
];

/** Only between two versions. */
const versionRules: readonly Rule[] = [
  { reason: "program", path: /^qom\[\/backend\/console\[\d+\]\]\.type$/ },
  { reason: "program", path: /^(qemu\.(version|package)|process\.program)$/ },
  {
    reason: "command",
    path: /^unanswered(\[|$)/,
    when: ({ old, new: next }) => [old, next].some((one) => JSON.stringify(one)?.includes("CommandNotFound")),
  },
  { reason: "internal", path: /\.x-[\w-]+$/, when: isOnOneSide },
  {
    reason: "new-switch",
    path: /^(qom|devices|objects)\[.*\]\./,
    when: (difference) => isOnOneSide(difference) && isOff(difference.old ?? difference.new),
  },
  {
    reason: "fixed-by-type",
    path: new RegExp(`^qom\\[.*\\]\\.properties\\.(${fixedByType.join("|")})$`),
    when: isOnOneSide,
  },
  {
    reason: "new-default",
    path: /^(qom|objects|iothreads)\[.*\]\.(properties\.|options\.)?poll-(grow|shrink)$/,
    when: ({ old, new: next }) => [old, next].every((value) => value === 0 || value === 2),
  },
  {
    reason: "new-default",
    path: /^(qom|objects|iothreads)\[.*\]\.(properties\.|options\.)?poll-weight$/,
    when: ({ old, new: next }) => (old ?? next) === 3,
  },
  {
    reason: "unversioned",
    path: /^(qom|devices)\[.*\]\.(properties|options)\.((guest|host)_tunnel(_csum)?|dpofua)$/,
    when: (_, { type }) => !/-\d+\.\d+$/.test(type),
  },
  { reason: "new-default", path: /\.rombar$/, when: ({ old, new: next }) => [old, next].sort().join() === "-1,1" },
  {
    reason: "new-default",
    path: /^qom\[\/machine\]\.properties\.smp\.(modules|books|drawers)$/,
    when: (difference) => isOnOneSide(difference) && (difference.old ?? difference.new) === 1,
  },
  { reason: "new-parameter", path: /^migration\.parameters\./, when: isOnOneSide },
  { reason: "new-answer", path: /^(status|block\.nodes\[.*\]\.other)\./, when: isOnOneSide },
  // QEMU 7.2 does not say to which socket a client is connected.
  {
    reason: "new-answer",
    path: /^chardevs\[.*\]\.filename$/,
    when: ({ old, new: next }) => [old, next].includes("unix:"),
  },
  { reason: "new-answer", path: /^qom\[\/machine\]\.properties\.smp-cache/, when: isOnOneSide },
  // The same parts below the chip that they are in.
  {
    reason: "moved",
    path: /^qom\[\/machine\/unattached\/(i8257|mc146818rtc|piix3-ide|PIIX4_PM)\[\d+\]\]/,
    when: isOnOneSide,
  },
  { reason: "moved", path: /^qom\[\/machine\/unattached\/[^/]*\/(rtc|ide|pm|dma\[\d\])\]/, when: isOnOneSide },
  { reason: "moved", path: /^qom\[\/machine\]\.properties\.rtc_state$/ },
  { reason: "moved", path: /^(qom|devices)\[/, when: ({ old, new: next }) => inNewPlace(old) === inNewPlace(next) },
  { reason: "moved", path: /^qom\[.*\]\.properties\.hotplug-handler$/, when: ({ old, new: next }) => !old !== !next },
  { reason: "own-object", path: /^qom\[\/backend\]/, when: isOnOneSide },
  // 11.1 has an object for each monitor, with the name that -mon gives it or one of its own, and a folder for sound.
  {
    reason: "own-object",
    path: /^(qom\[\/objects\/[^\]]+\]|objects\[[^\]]+\])$/,
    when: (difference) => isOnOneSide(difference) && isMonitor(difference.old ?? difference.new),
  },
  { reason: "own-object", path: /^(qom\[(\/audiodevs|\/objects\/compat_monitor\d+)\]|objects\[compat_monitor\d+\])$/ },
];

/** A path in QEMU before 8.0 where a newer one has that part; what is no path of such a part stays. */
function inNewPlace(value: unknown): unknown {
  if (typeof value !== "string") return value;
  return value
    .replace("/machine/unattached/PIIX4_PM[0]", "/machine/unattached/PIIX3[0]/pm")
    .replace("/machine/unattached/piix3-ide[0]", "/machine/unattached/PIIX3[0]/ide");
}

function isVirtioMem(path: string, { qom }: Machine): boolean {
  const name = /\[([^\]]*)\]/.exec(path)?.[1] ?? "";
  return qom.some(
    (object) => object.type.startsWith("virtio-mem") && (object.path === name || object.path.endsWith(`/${name}`)),
  );
}

/** A character device on a TCP port: the new QEMU has a null device in its place. */
function isExchangedLater(label: string, old: Machine, next: Machine): boolean {
  const [here, there] = [old, next].map(({ chardevs }) => chardevs.find((one) => one.label === label)?.filename);
  return next.status.status === "inmigrate" && there === "null" && /^(disconnected:)?tcp:.*,server=on/.test(here ?? "");
}

/** Forwarded ports, VNC's and gdb's, and those of {@link isExchangedLater}; "*:80" is "0.0.0.0:80". */
function isOpenedLater(port: string, old: Machine, next: Machine): boolean {
  const { net, vnc, chardevs } = old;
  const number = port.slice(port.lastIndexOf(":") + 1);
  return (
    net.forwards.some(({ host }) => host.replace(/^\*/, "0.0.0.0") === port) ||
    vnc.some(({ server }) => server.some(({ service }) => service === number)) ||
    chardevs.some(
      ({ label, filename }) =>
        filename.includes(`:${number},server=on`) && (label === "gdb" || isExchangedLater(label, old, next)),
    )
  );
}

function isStreamState(info: unknown): boolean {
  return typeof info === "string" && /^(listening$|(unix|tcp):)/.test(info);
}

function isMonitor(object: unknown): boolean {
  return (
    typeof object === "object" && object !== null && "type" in object && /^monitor-[qh]mp$/.test(String(object.type))
  );
}

function isOnOneSide({ old, new: next }: MachineDifference): boolean {
  return (old === undefined) !== (next === undefined);
}

function isOff(value: unknown): boolean {
  if (typeof value === "object" && value !== null) return Object.values(value).every(isOff) || isFeatureWord(value);
  return [false, 0, "", "auto", "off", null].includes(value as string);
}

function isFeatureWord(value: object): boolean {
  return "features" in value && value.features === 0;
}

/** A tap by its interface and scripts, and one by its fd. */
function isSameButTaps(old: Machine, next: Machine): boolean {
  const plain = ({ net }: Machine) =>
    net.clients.map((client) => (isTap(client.type) ? { ...client, type: "tap", info: "" } : client));
  return JSON.stringify(plain(old)) === JSON.stringify(plain(next));
}

function isTap(type: string): boolean {
  return type === "tap" || type === "bridge";
}

/** "disconnected:unix:PATH,server=on" and "unix:PATH <-> …" are the same device. */
function withoutClient(filename: unknown): string {
  return String(filename)
    .replace(/^disconnected:/, "")
    .replace(/ <-> .*$/, "");
}

/** What is in an fd set, without the numbers of the fds. */
function withoutNumbers(fds: unknown): string {
  return JSON.stringify(fds).replaceAll(/"fd":\d+,?/g, "");
}
