// Where a command line puts its QMP monitors.

import { resolve } from "node:path";
import { type CommandOption, getValue, isOn, kindIn, parseKeyValues } from "./parse.ts";

/**
 * Absolute paths of the UNIX sockets on which this QEMU serves QMP, in the order of the command line.
 *
 * @param cwd the folder against which QEMU took relative paths
 */
export function qmpSocketPaths(options: readonly CommandOption[], cwd: string): string[] {
  const chardevs = listeningChardevs(options);
  return options
    .flatMap(({ name, value }) => (value === undefined ? [] : qmpPath(name, value, chardevs)))
    .map((path) => resolve(cwd, path));
}

function qmpPath(name: string, value: string, chardevs: ReadonlyMap<string, string>): string[] {
  const ofChardev = (id: string | undefined): string[] => {
    const path = chardevs.get(id ?? "");
    return path === undefined ? [] : [path];
  };
  if (name === "qmp" || name === "qmp-pretty") {
    if (value.startsWith("chardev:")) return ofChardev(value.slice("chardev:".length));
    const socket = legacyUnixSocket(value);
    return socket?.server === true ? [socket.path] : [];
  }
  const parts = objectParts(value);
  if (name === "mon" && getValue(parts, "mode") === "control") {
    return ofChardev(kindIn(parts, "chardev"));
  }
  // 11.1 has monitors as objects, too.
  if (name === "object" && kindIn(parts, "qom-type") === "monitor-qmp") {
    return ofChardev(getValue(parts, "chardev"));
  }
  return [];
}

/** The short form of a character device that is a UNIX socket: "unix:PATH,server=on,wait=off". */
export function legacyUnixSocket(value: string): { readonly path: string; readonly server: boolean } | undefined {
  if (!value.startsWith("unix:")) return undefined;
  const parts = parseKeyValues(value.slice("unix:".length));
  const path = parts[0]?.[1] === undefined ? parts[0]?.[0] : `${parts[0][0]}=${parts[0][1]}`;
  return path === undefined || path === "" ? undefined : { path, server: isOn(parts, "server") };
}

/** The same of one that listens on a TCP port: "tcp:HOST:PORT,server=on"; `host` may be empty. */
export function legacyTcpSocket(
  value: string,
): { readonly host: string; readonly port: string; readonly rest: ReturnType<typeof parseKeyValues> } | undefined {
  const [place = "", ...more] = value.split(",");
  const [, host, port] = /^tcp:(.*):(\d+)$/.exec(place) ?? [];
  const rest = parseKeyValues(more.join(","));
  return host === undefined || port === undefined || !isOn(rest, "server") ? undefined : { host, port, rest };
}

/** The keys and values of an option that may also be given as JSON; of JSON only what is text, number or boolean. */
export function objectParts(value: string): ReturnType<typeof parseKeyValues> {
  if (!value.startsWith("{")) return parseKeyValues(value);
  try {
    const object: unknown = JSON.parse(value);
    if (typeof object !== "object" || object === null) return [];
    return Object.entries(object).flatMap(([key, member]) =>
      typeof member === "object" ? [] : [[key, typeof member === "boolean" ? (member ? "on" : "off") : String(member)]],
    );
  } catch {
    return [];
  }
}

/** The id of an option; "" without one. */
export function idOf({ value = "" }: CommandOption): string {
  return getValue(objectParts(value), "id") ?? "";
}

/** Whether all is seen that this command line asks for: a file of -readconfig that could not be read may hold more. */
export function isWhole(options: readonly (CommandOption | undefined)[]): boolean {
  return !options.some((option) => option?.name === "readconfig");
}

function listeningChardevs(options: readonly CommandOption[]): Map<string, string> {
  const paths = new Map<string, string>();
  for (const { name, value } of options) {
    if (name !== "chardev" || value === undefined) continue;
    const parts = parseKeyValues(value);
    const [id, path] = [getValue(parts, "id"), getValue(parts, "path")];
    if (kindIn(parts, "backend") === "socket" && id !== undefined && path !== undefined && isOn(parts, "server")) {
      paths.set(id, path);
    }
  }
  return paths;
}
