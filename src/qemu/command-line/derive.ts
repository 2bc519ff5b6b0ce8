// From the command line of a running QEMU to the one of its successor; for a while both run. What both would fight for
// gets another name, what would empty a file appends to it, what can't be had twice is a finding.

import { existsSync } from "node:fs";
import { basename, dirname, resolve } from "node:path";
import { blocker, type Finding, warning } from "../finding.ts";
import { type Handed, openDesk } from "../handover/desk.ts";
import { hasItsSets } from "../handover/fd-sets.ts";
import type { Held } from "../handover/held.ts";
import { byPath } from "../handover/sockets.ts";
import { listeningStream, streamByPlace, withAddress } from "../handover/streams.ts";
import { isMachine, withMember } from "./members.ts";
import { legacyUnixSocket, objectParts } from "./monitors.ts";
import {
  type CommandOption,
  formatKeyValues,
  formatOptions,
  getValue,
  isOn,
  type KeyValues,
  kindIn,
  parseKeyValues,
  withValue,
} from "./parse.ts";

/** A path that both QEMUs would make: the old one keeps `old`, the new one makes `new`, people use `public`. */
export interface MovedName {
  readonly kind: "socket" | "pidfile" | "log";
  /** Absolute. The name without cprkit's ending; a link to the new one after the update. */
  readonly public: string;
  /** Absolute. What the running QEMU made. Equal to `public` before the first update. */
  readonly old: string;
  /** Absolute. What the new QEMU makes. */
  readonly new: string;
}

export interface DeriveOptions {
  /** Folder against which relative paths are taken. */
  readonly cwd: string;
  /** True (default) when both processes live side by side; false for cpr-exec, where the old one's names are free. */
  readonly sideBySide?: boolean;
  /** For `-machine`: the name to write in place of an alias or of no name at all. */
  readonly machine?: string | undefined;
  /** Folders given with -L below this one are left out: they belong to the old binary. */
  readonly oldPrefix?: string | undefined;
  /** By id of a memory-backend-file: where its file is found now, if not under its mem-path. */
  readonly memoryFiles?: ReadonlyMap<string, string> | undefined;
  /** The GUID that a vmgenid device shows the guest, in place of "auto". */
  readonly generationId?: string | undefined;
  /** What the running QEMU has open that can be handed over. Default: nothing. */
  readonly held?: readonly Held[] | undefined;
  /** Whether listening sockets are among that. Default true; else the new QEMU makes sockets of its own. */
  readonly sockets?: boolean | undefined;
  /** Whether a path is taken; for tests. */
  readonly exists?: (path: string) => boolean;
}

export interface Derived {
  /** The words after the program's name, without any -incoming. */
  readonly args: readonly string[];
  readonly moved: readonly MovedName[];
  /** The fds that the words name. */
  readonly handed: readonly Handed[];
  readonly findings: readonly Finding[];
}

/** cprkit's ending for the names of later generations. */
const generationEnding = /\.cpr(\d+)$/;

/** The name that people use, of one that a QEMU of a later generation made. */
export function publicName(path: string): string {
  return path.replace(generationEnding, "");
}

/** Derives the successor's command line. Nothing is touched; paths are only looked at. */
export function deriveCommandLine(options: readonly CommandOption[], how: DeriveOptions): Derived {
  const { cwd, sideBySide = true, exists = existsSync } = how;
  const moved: MovedName[] = [];
  const findings: Finding[] = [];
  const note = (finding: Finding) => {
    if (!findings.some((other) => other.message === finding.message)) findings.push(finding);
  };
  const move = (path: string, kind: MovedName["kind"]): string => {
    // A log is opened by emptying it, also where the process stays.
    if (!sideBySide && kind !== "log") return path;
    const base = publicName(path);
    let generation = Number(generationEnding.exec(path)?.[1] ?? 0);
    const name = () => `${base}.cpr${generation}`;
    do generation += 1;
    while (exists(resolve(cwd, name())));
    moved.push({ kind, public: resolve(cwd, base), old: resolve(cwd, path), new: resolve(cwd, name()) });
    if (Buffer.byteLength(resolve(cwd, name())) > 107 && kind === "socket") {
      note(blocker("socket-path", `the successor's socket path ${name()} has more than 107 bytes`, "shorten the path"));
    }
    return name();
  };
  const context: Context = { move, note, sideBySide, memoryFiles: how.memoryFiles, generationId: how.generationId };

  const { held = [], sockets = true } = how;
  const desk = openDesk({ held, cwd, sockets, options, isNewProcess: sideBySide });
  const derived: CommandOption[] = [];
  const chardevs = options.flatMap(({ name, value }) =>
    name === "chardev" && value !== undefined ? (getValue(objectParts(value), "id") ?? []) : [],
  );
  let serials = 0;
  for (const given of options) {
    const handed = desk.rewrite(given);
    const option = handed === undefined ? byPath(streamByPlace(given, held, cwd), held) : given;
    const { name, value } = option;
    if (dropped.has(name)) continue;
    if (name === "L" && value !== undefined && isBelow(resolve(cwd, value), how.oldPrefix)) continue;
    if (name === "snapshot" || name === "readconfig") note(undecidable(name));
    if (value === undefined) {
      derived.push(option);
      continue;
    }
    // The label that QEMU gives the port's character device.
    const label = name === "serial" ? `serial${serials++}` : "";
    if (handed !== undefined) {
      derived.push(...handed);
      continue;
    }
    lookForFds(option, sideBySide ? held : [], note);
    if (name === "chroot") note(chrooted(`-chroot ${value}`));
    if (name === "pidfile") {
      if (sideBySide && ofProxmox.test(publicName(value))) note(unknownToProxmox(value));
      derived.push({ name, value: move(value, "pidfile") });
    }
    // With %d each thread has a file with its number.
    else if (name === "D" && !value.includes("%d")) derived.push({ name, value: move(value, "log") });
    else if (name === "serial" && value.startsWith("file:")) {
      // The short form can't append: a new QEMU would empty the log.
      const id = chardevs.includes(label) ? `cprkit-${label}` : label;
      const parts: KeyValues = [
        ["file", undefined],
        ["id", id],
        ["path", value.slice("file:".length)],
        ["append", "on"],
      ];
      derived.push({ name: "chardev", value: formatKeyValues(parts) }, { name, value: `chardev:${id}` });
    } else {
      const kept = rewritten(name, value, context);
      if (kept !== "" || value === "") derived.push({ name, value: kept });
    }
  }
  derived.push(...desk.sets);
  for (const finding of desk.findings) note(finding);
  return { args: formatOptions(withMachine(derived, how.machine)), moved, handed: desk.handed, findings };
}

interface Context {
  readonly move: (path: string, kind: MovedName["kind"]) => string;
  readonly note: (finding: Finding) => void;
  readonly sideBySide: boolean;
  readonly memoryFiles: DeriveOptions["memoryFiles"];
  readonly generationId: string | undefined;
}

/** An earlier update's; what would load, stop, detach or change the user once more. */
const dropped = new Set(["incoming", "S", "daemonize", "loadvm", "runas", "preconfig"]);

const shortForms = new Set(["qmp", "qmp-pretty", "monitor", "serial", "parallel", "debugcon", "gdb"]);

function rewritten(name: string, value: string, context: Context): string {
  if (shortForms.has(name)) return rewrittenShort(name, value, context);
  switch (name) {
    case "chardev":
      return rewrittenChardev(value, context);
    case "vnc":
      return rewrittenVnc(value, context);
    case "spice":
      return rewrittenSpice(value, context);
    case "object":
      return rewrittenObject(value, context);
    case "device":
      return rewrittenDevice(value, context);
    case "run-with":
      return rewrittenRunWith(value, context);
    case "netdev":
    case "nic":
      lookForListeners(`-${name}`, value, context);
      return rewrittenStream(name, value, context);
    default:
      return value;
  }
}

function rewrittenShort(name: string, value: string, { move, note, sideBySide }: Context): string {
  const prefix = value.startsWith("mon:") ? "mon:" : "";
  const device = value.slice(prefix.length);
  const socket = legacyUnixSocket(device);
  if (socket?.server === true) {
    const [, ...rest] = parseKeyValues(device.slice("unix:".length));
    const path = move(socket.path, "socket").replaceAll(",", ",,");
    return `${prefix}unix:${path},${formatKeyValues(withoutWait(rest))}`;
  }
  const kind = device.split(":")[0] ?? "";
  const listens = ["tcp", "telnet", "websocket"].includes(kind) && isOn(parseKeyValues(device), "server");
  if (sideBySide && (listens || kind === "udp" || (name === "gdb" && kind === "tcp")))
    note(portTaken(`-${name} ${value}`));
  if (device === "stdio") note(stdioLost(`-${name} ${value}`));
  if (device.startsWith("file:") && name !== "serial") {
    const message = `-${name} ${value}: the new QEMU empties this file when it starts`;
    note(warning("file-emptied", message, `use -chardev file,…,append=on and -${name} chardev:ID`));
  }
  return value;
}

function rewrittenChardev(value: string, { move, note, sideBySide }: Context): string {
  let parts = parseKeyValues(value);
  const backend = kindIn(parts, "backend");
  if (getValue(parts, "logfile") !== undefined) parts = withValue(parts, "logappend", "on");
  if (backend === "file") return formatKeyValues(withValue(parts, "append", "on"));
  if (backend === "stdio") note(stdioLost(`-chardev ${value}`));
  if (backend === "udp" && sideBySide && getValue(parts, "localport") !== undefined)
    note(portTaken(`-chardev ${value}`));
  if (backend === "socket" && isOn(parts, "server")) {
    const path = getValue(parts, "path");
    // An abstract name has no file, and no way to hand it over.
    if (sideBySide && (path === undefined || isOn(parts, "abstract"))) note(portTaken(`-chardev ${value}`));
    else if (path !== undefined) parts = withValue(parts, "path", move(path, "socket"));
    parts = withoutWait(parts);
  }
  return formatKeyValues(parts);
}

/** QEMU's default is to wait for a client before it goes on: the new one would wait for one that the old one has. */
function withoutWait(parts: KeyValues): KeyValues {
  return parts.some(([key]) => key === "nowait") ? parts : withValue(parts, "wait", "off");
}

/** Guest RAM in a file that has no name (any more), as of a folder for huge pages: the new QEMU opens the very file. */
function rewrittenObject(value: string, { memoryFiles, note, sideBySide }: Context): string {
  const id = getValue(objectParts(value), "id");
  const file = id === undefined ? undefined : memoryFiles?.get(id);
  if (file === undefined) return value;
  if (!sideBySide) {
    const message = `-object ${value}: guest RAM is in a file without a name, which is closed when QEMU executes the new program`;
    note(blocker("memory-file", message, "use --mode cpr-transfer"));
  }
  return withMember(value, "mem-path", file);
}

function rewrittenDevice(value: string, { generationId }: Context): string {
  const parts = objectParts(value);
  if (kindIn(parts, "driver") !== "vmgenid" || generationId === undefined || getValue(parts, "guid") !== "auto")
    return value;
  return withMember(value, "guid", generationId);
}

function rewrittenVnc(value: string, { move, note, sideBySide }: Context): string {
  // The first word's key may be written or left out.
  const key = value.startsWith("vnc=") ? "vnc=" : "";
  const display = value.slice(key.length);
  const socket = legacyUnixSocket(display);
  if (socket !== undefined) {
    const rest = display.slice(`unix:${socket.path.replaceAll(",", ",,")}`.length);
    return `${key}unix:${move(socket.path, "socket").replaceAll(",", ",,")}${rest}`;
  }
  if (sideBySide && parseKeyValues(display)[0]?.[0] !== "none") note(portTaken(`-vnc ${value}`));
  return value;
}

function rewrittenSpice(value: string, { move, note, sideBySide }: Context): string {
  const parts = parseKeyValues(value);
  const address = getValue(parts, "addr");
  if (isOn(parts, "unix") && address !== undefined) {
    return formatKeyValues(withValue(parts, "addr", move(address, "socket")));
  }
  if (sideBySide && (getValue(parts, "port") ?? getValue(parts, "tls-port")) !== undefined)
    note(
      portTaken(`-spice ${value}`, "QEMU takes no fd for SPICE, and opens it at its start only: use unix=on,addr=PATH"),
    );
  return value;
}

/** The user is changed already, and the new QEMU's parent is cprkit, which ends. "" when nothing is left. */
function rewrittenRunWith(value: string, { note, sideBySide }: Context): string {
  const parts = parseKeyValues(value);
  if (getValue(parts, "chroot") !== undefined) note(chrooted(`-run-with ${value}`));
  if (sideBySide && isOn(parts, "exit-with-parent")) {
    const message = `-run-with ${value}: the new QEMU does not end with the program that started the old one`;
    note(warning("parent-exit", message, "let that program end the QEMU whose pid is in its pidfile"));
  }
  const gone = sideBySide ? ["user", "exit-with-parent"] : ["user"];
  return formatKeyValues(parts.filter(([key]) => !gone.includes(key)));
}

/** Where Proxmox VE has the pidfile of VM 100: 100.pid. */
const ofProxmox = /\/run\/qemu-server\/\d+\.pid$/;

/** Its qemu-server (PVE/QemuServer/Helpers.pm, qmeventd) compares the word on the command line, not only the file. */
function unknownToProxmox(pidfile: string): Finding {
  const message = `-pidfile ${pidfile}: Proxmox VE knows a running VM by this word, and the new QEMU, beside the old one, gets another: the VM would be taken for stopped, and could be started once more`;
  return blocker("proxmox-pidfile", message, "use --mode cpr-exec, which keeps the process and its words");
}

function chrooted(option: string): Finding {
  const message = `${option}: the running QEMU sees another root folder, which the new one can't enter`;
  return blocker("chroot", message, "start the VM without it, in a mount namespace or a container if need be");
}

/** A network that listens, whose socket is not handed over. */
function rewrittenStream(name: string, value: string, { move, note, sideBySide }: Context): string {
  const stream = listeningStream({ name, value });
  if (stream === undefined) return value;
  const { type, path, abstract } = stream.address;
  if (type === "unix" && path !== undefined && abstract === undefined) {
    const address = { ...stream.address, path: move(path, "socket") };
    return withAddress({ name, value }, address).value ?? value;
  }
  if (type === "fd") note(fdOption(name, value));
  else if (sideBySide) note(portTaken(`-${name} ${value}`));
  return value;
}

function lookForListeners(option: string, value: string, { note, sideBySide }: Context): void {
  if (!sideBySide) return;
  const keys = objectParts(value).map(([key]) => key);
  if (keys.includes("hostfwd") || keys.includes("listen")) note(portTaken(`${option} ${value}`));
}

const fdKeys = new Set(["fd", "fds", "vhostfd", "vhostfds", "fd-list"]);

/** What a parent process passed by number: the new QEMU would find something else, or nothing, there. */
function lookForFds({ name, value = "" }: CommandOption, held: readonly Held[], note: Context["note"]): void {
  const byNumber = objectParts(value).find(([key, number]) => fdKeys.has(key) && /^\d+(:\d+)*$/.test(number ?? ""));
  const found = name === "add-fd" || !hasItsSets(value, held) || value.includes("/dev/fd/") || byNumber !== undefined;
  if (found) note(fdOption(name, value));
}

function fdOption(name: string, value: string): Finding {
  return blocker(
    "fd-option",
    `-${name} ${value}: this option names an fd that the parent process passed to QEMU`,
    "use an option that names a path, or give the whole new command after -- from a process that passes the fd",
  );
}

function withMachine(options: readonly CommandOption[], machine: string | undefined): CommandOption[] {
  if (machine === undefined) return [...options];
  const at = options.findLastIndex(({ name, value }) => isMachine(name) && machineName(value ?? "") !== undefined);
  if (at < 0) return [{ name: "machine", value: machine }, ...options];
  return options.map((option, index) => {
    if (index !== at) return option;
    const parts = parseKeyValues(option.value ?? "");
    const ending = ownVersion.exec(machineName(option.value ?? "") ?? "")?.[0] ?? "";
    const named = parts.map(([key, value], place): readonly [string, string | undefined] => {
      if (place === 0 && value === undefined) return [machine + ending, undefined];
      return key === "type" ? [key, machine + ending] : [key, value];
    });
    return { name: option.name, value: formatKeyValues(named) };
  });
}

/** The machine type that a command line asks for, as QEMU lists it; undefined when it leaves it to QEMU. */
export function machineOf(options: readonly CommandOption[]): string | undefined {
  const names = options.flatMap(({ name, value }) => (isMachine(name) ? (machineName(value ?? "") ?? []) : []));
  return names.at(-1)?.replace(ownVersion, "");
}

/**
 * "pc-q35-9.2+pve1": what Proxmox VE's QEMU takes behind a type, and gives back in query-machines. By it Proxmox VE knows what it
 * may plug in (its patch "Allow version code in machine type").
 */
const ownVersion = /\+pve\d+$/;

function machineName(value: string): string | undefined {
  const parts = parseKeyValues(value);
  const [first] = parts;
  return first !== undefined && first[1] === undefined ? first[0] : getValue(parts, "type");
}

function isBelow(path: string, folder: string | undefined): boolean {
  return folder !== undefined && folder !== "/" && folder !== "/usr" && path.startsWith(`${folder}/`);
}

/** The folder that a binary is installed under, "/opt/qemu" for "/opt/qemu/bin/qemu-system-x86_64"; "/" for the system's. */
export function prefixOf(binary: string): string {
  const folder = dirname(binary);
  if (basename(folder) !== "bin") return folder;
  const prefix = dirname(folder);
  return basename(prefix) === "usr" ? dirname(prefix) : prefix;
}

function portTaken(option: string, way = "name a single address, or use a UNIX socket with a path"): Finding {
  return blocker(
    "port-taken",
    `${option}: the running QEMU holds this port or name until it ends, so the new one can't listen there`,
    `${way}, use --mode cpr-exec, or give the new command after --`,
  );
}

function stdioLost(option: string): Finding {
  return warning(
    "stdio",
    `${option}: the new QEMU runs detached; what it writes goes to its log file, and it reads nothing`,
    "use a UNIX socket",
  );
}

function undecidable(name: string): Finding {
  return name === "snapshot"
    ? blocker(
        "snapshot",
        "-snapshot: the changes of the disk are in a temporary file that no other QEMU can open",
        "give each drive a file of its own",
      )
    : warning(
        "readconfig",
        "-readconfig: that file can't be read, or has a section that cprkit does not know; sockets and logs in it are not moved",
        "write its options on the command line at the VM's next start; until then give the whole new command after --",
      );
}
