// Networks that listen for their peer, `-netdev stream,server=on`: QEMU serves one peer at a time there, as at a character
// device, and takes the socket as an fd (QEMU 10.0 net/stream.c).

import { resolve } from "node:path";
import { type CommandOption, formatKeyValues, getValue, isOn, kindIn, parseKeyValues } from "../command-line/parse.ts";
import type { Held } from "./held.ts";
import { onPort } from "./sockets.ts";

/** Such an option, taken apart. */
export interface ListeningStream {
  readonly id: string;
  /** A SocketAddress of QEMU's: its type, and what goes with that, all as text. */
  readonly address: Readonly<Record<string, string>>;
}

/** @returns undefined for any other option */
export function listeningStream({ name, value = "" }: CommandOption): ListeningStream | undefined {
  if (name !== "netdev") return undefined;
  if (value.startsWith("{")) {
    const { type, id, server, addr } = membersOf(value);
    if (type !== "stream" || server !== true || typeof addr !== "object" || addr === null) return undefined;
    const entries = Object.entries(addr).map(([key, member]) => [key, String(member)] as const);
    return { id: String(id), address: Object.fromEntries(entries) };
  }
  const parts = parseKeyValues(value);
  if (kindIn(parts, "type") !== "stream" || !isOn(parts, "server")) return undefined;
  const entries = parts.flatMap(([key, text = ""]) =>
    key.startsWith(prefix) ? [[key.slice(prefix.length), text]] : [],
  );
  return { id: getValue(parts, "id") ?? "", address: Object.fromEntries(entries) as Record<string, string> };
}

/** None of a text that is not JSON: QEMU takes no such option, but a command line is not trusted. */
function membersOf(json: string): Readonly<Record<string, unknown>> {
  try {
    return JSON.parse(json) as Readonly<Record<string, unknown>>;
  } catch {
    return {};
  }
}

const prefix = "addr.";

/** The option with another address. */
export function withAddress({ name, value = "" }: CommandOption, address: ListeningStream["address"]): CommandOption {
  if (value.startsWith("{"))
    return { name, value: JSON.stringify({ ...(JSON.parse(value) as object), addr: address }) };
  const kept = parseKeyValues(value).filter(([key]) => !key.startsWith(prefix));
  const own = Object.entries(address).map(([key, text]) => [prefix + key, text] as const);
  return { name, value: formatKeyValues([...kept, ...own]) };
}

/** The address of an fd by its number. */
export function fdAddress(number: number): ListeningStream["address"] {
  return { type: "fd", str: String(number) };
}

/** The socket that the running QEMU has open for it; undefined where several, or none, are. */
export function heldByStream({ address }: ListeningStream, held: readonly Held[], cwd: string): Held | undefined {
  const sockets = held.filter(({ kind }) => kind === "unix" || kind === "tcp");
  const { type, path = "", abstract, host = "", port = "", str } = address;
  if (type === "unix" && abstract === undefined) {
    return sockets.find(({ kind, at }) => kind === "unix" && at === resolve(cwd, path));
  }
  if (type === "inet") return onPort(sockets, host, port);
  return type === "fd" ? sockets.find(({ fd, at }) => String(fd) === str && !at.startsWith("@")) : undefined;
}

/** One that names its socket by a number, by its place: where it is not handed over. */
export function streamByPlace(option: CommandOption, held: readonly Held[], cwd: string): CommandOption {
  const stream = listeningStream(option);
  const own = stream?.address["type"] === "fd" ? heldByStream(stream, held, cwd) : undefined;
  if (own === undefined) return option;
  const colon = own.at.lastIndexOf(":");
  const host = own.at.slice(0, colon).replace(/^\[(.*)\]$/, "$1");
  return withAddress(
    option,
    own.kind === "unix" ? { type: "unix", path: own.at } : { type: "inet", host, port: own.at.slice(colon + 1) },
  );
}
