// Sockets on which a QEMU listens: monitors, serial ports, any character device. The new QEMU gets the very socket, by
// number, so that its path, its owner and mode, or its port, and the clients that wait there stay.

import { isIP, isIPv6 } from "node:net";
import { resolve } from "node:path";
import { legacyTcpSocket, legacyUnixSocket } from "../command-line/monitors.ts";
import {
  type CommandOption,
  formatKeyValues,
  getValue,
  isOn,
  type KeyValues,
  parseKeyValues,
  withValue,
} from "../command-line/parse.ts";
import { listeningUnixFds } from "../fds/sockets.ts";
import { absoluteName, type Held } from "./held.ts";

/** The monitor that cprkit has in a QEMU which it has started: of one update, it has no path any more after it. */
const ownMonitor = "cprkit-qmp";

/** Words that give the new QEMU cprkit's own monitor. */
export function ownMonitorWords(path: string): string[] {
  const chardev: KeyValues = [
    ["socket", undefined],
    ["id", ownMonitor],
    ["path", path],
    ["server", "on"],
    ["wait", "off"],
  ];
  return ["-chardev", formatKeyValues(chardev), "-mon", `chardev=${ownMonitor},id=${ownMonitor},mode=control`];
}

/** Whether an option belongs to the monitor of an update before. */
export function isOfOwnMonitor({ name, value = "" }: CommandOption): boolean {
  if (name === "mon") return getValue(parseKeyValues(value), "chardev") === ownMonitor;
  return name === "chardev" && getValue(parseKeyValues(value), "id") === ownMonitor;
}

/** A character device that listens on a socket, taken apart. */
interface Listener {
  /** Its id; of a short form the label that QEMU gives it. */
  readonly id: string;
  readonly held: Held;
  /** "socket" and what else is said of it, without its place. */
  readonly parts: KeyValues;
}

const ofPlace = new Set(["path", "fd", "abstract", "tight", "host", "port", "to", "ipv4", "ipv6"]);

/**
 * Monitors in the short form whose sockets stay where they are: QEMU numbers the labels of those that stay in the short
 * form from 0 on, so one that stays keeps its label only if all before it stay, too.
 */
export function staying(options: readonly CommandOption[], held: readonly Held[], cwd: string): Set<CommandOption> {
  const labels = countLabels();
  const monitors = options.flatMap((option) => {
    const label = labels.of(option);
    if (label?.startsWith(monitorLabel) !== true) return [];
    return [{ option, stays: listenerOf(option, label, held, cwd) === undefined }];
  });
  const last = monitors.findLastIndex(({ stays }) => stays);
  return new Set(monitors.slice(0, last + 1).map(({ option }) => option));
}

/** What is known of the options before, to know the labels that QEMU gives (QEMU 10.0 system/vl.c). */
export interface Labels {
  /** The label of the option, if it is a short form: call it once for each option, in their order. */
  of(option: CommandOption): string | undefined;
}

export function countLabels(): Labels {
  const counts = new Map<string, number>();
  return {
    of({ name, value = "" }) {
      const label = shortForms.get(name);
      if (label === undefined) return undefined;
      // Such a monitor gets none.
      if (label === monitorLabel && (value.startsWith("none") || value.startsWith("chardev:"))) return undefined;
      const count = counts.get(label) ?? 0;
      counts.set(label, count + 1);
      return `${label}${count}`;
    },
  };
}

const monitorLabel = "compat_monitor";

const shortForms: ReadonlyMap<string, string> = new Map([
  ["qmp", monitorLabel],
  ["qmp-pretty", monitorLabel],
  ["monitor", monitorLabel],
  ["serial", "serial"],
  ["parallel", "parallel"],
]);

/** The listener that an option makes, if the running QEMU has it open. */
export function listenerOf(
  { name, value = "" }: CommandOption,
  label: string | undefined,
  held: readonly Held[],
  cwd: string,
): Listener | undefined {
  const sockets = held.filter(({ kind }) => kind === "unix" || kind === "tcp");
  const at = (path: string) => sockets.find((one) => one.kind === "unix" && one.at === path);
  if (name === "chardev") {
    const parts = parseKeyValues(value);
    const [id, path, fd, host = "", port] = ["id", "path", "fd", "host", "port"].map((key) => getValue(parts, key));
    // A handshake that the connection which holds the place does not make.
    if (parts[0]?.[0] !== "socket" || !isOn(parts, "server") || id === undefined || isWrapped(parts)) return undefined;
    const named =
      path !== undefined ? at(resolve(cwd, path)) : port === undefined ? undefined : onPort(sockets, host, port);
    const own = fd === undefined ? named : sockets.find((one) => String(one.fd) === fd);
    // cprkit could not connect to an abstract name.
    return own === undefined || isOn(parts, "abstract") || own.at.startsWith("@")
      ? undefined
      : { id, held: own, parts: parts.filter(([key]) => !ofPlace.has(key)) };
  }
  if (label === undefined) return undefined;
  const [unix, tcp] = [legacyUnixSocket(value), legacyTcpSocket(value)];
  const own = unix?.server === true ? at(resolve(cwd, unix.path)) : tcp && onPort(sockets, tcp.host, tcp.port);
  if (own === undefined) return undefined;
  const rest = tcp?.rest ?? parseKeyValues(value.slice("unix:".length)).slice(1);
  if (isWrapped(rest)) return undefined;
  const parts = rest.filter(([key]) => !ofPlace.has(key));
  return { id: label, held: own, parts: [["socket", undefined], ["id", label], ...parts] };
}

/**
 * The socket that listens there. A name, or none, may stand for several addresses, each with a socket of its own, and a
 * character device takes one fd only: then undefined, as if there were none.
 */
export function onPort(sockets: readonly Held[], host: string, port: string): Held | undefined {
  const address = host.replace(/^\[(.*)\]$/, "$1");
  const all = sockets.filter(({ kind, at }) => kind === "tcp" && at.endsWith(`:${port}`));
  const own =
    isIP(address) === 0 ? all : all.filter(({ at }) => canonical(at.slice(0, -port.length - 1)) === canonical(address));
  return own.length === 1 ? own[0] : undefined;
}

function canonical(address: string): string {
  const bare = address.replace(/^\[(.*)\]$/, "$1");
  return isIPv6(bare) ? new URL(`http://[${bare}]`).hostname : bare;
}

function isWrapped(parts: KeyValues): boolean {
  return ["tls-creds", "websocket", "telnet", "tn3270", "mux"].some(
    (key) => getValue(parts, key) !== undefined && (key === "tls-creds" || isOn(parts, key)),
  );
}

/** The option, or a long form for a short one, with the socket by its number. */
export function listenerWords({ name }: CommandOption, { id, parts }: Listener, number: number): CommandOption[] {
  const withoutWait = parts.some(([key]) => key === "nowait") ? parts : withValue(parts, "wait", "off");
  const logged = getValue(parts, "logfile") === undefined ? withoutWait : withValue(withoutWait, "logappend", "on");
  const chardev = { name: "chardev", value: formatKeyValues([...logged, ["fd", String(number)]]) };
  if (name === "chardev") return [chardev];
  // QEMU 11.1 would give the object of a "-qmp chardev:LABEL" the label as its name, which that of a "mon:" has, too.
  const mode = monitorModes.get(name);
  const user = mode === undefined ? { name, value: `chardev:${id}` } : { name: "mon", value: `chardev=${id},${mode}` };
  return [chardev, user];
}

const monitorModes: ReadonlyMap<string, string> = new Map([
  ["qmp", "mode=control"],
  ["qmp-pretty", "mode=control,pretty=on"],
  ["monitor", "mode=readline"],
]);

/** A running command line with paths in place of numbers, and without cprkit's own monitor: for those who look for paths. */
export function withPaths(options: readonly CommandOption[], pid: number, cwd: string): CommandOption[] {
  const sockets = [...listeningUnixFds(pid)].map(
    ([fd, name]): Held => ({ fd, kind: "unix", at: absoluteName(cwd, name), closeOnExec: false }),
  );
  return options.filter((option) => !isOfOwnMonitor(option)).map((option) => byPath(option, sockets));
}

/** A chardev that names its socket by a number, by its path: for those who look at paths. */
export function byPath(option: CommandOption, held: readonly Held[]): CommandOption {
  const { name, value = "" } = option;
  if (name !== "chardev") return option;
  const parts = parseKeyValues(value);
  const fd = getValue(parts, "fd");
  const own = held.find(({ kind, ...one }) => (kind === "unix" || kind === "tcp") && String(one.fd) === fd);
  if (own === undefined || parts[0]?.[0] !== "socket") return option;
  return { name, value: formatKeyValues([...parts.filter(([key]) => !ofPlace.has(key)), ...placeOf(own)]) };
}

function placeOf({ kind, at }: Held): KeyValues {
  if (kind === "tcp") {
    const colon = at.lastIndexOf(":");
    return [
      ["host", canonical(at.slice(0, colon)).replace(/^\[(.*)\]$/, "$1")],
      ["port", at.slice(colon + 1)],
    ];
  }
  return at.startsWith("@")
    ? [
        ["path", at.slice(1)],
        ["abstract", "on"],
      ]
    : [["path", at]];
}
