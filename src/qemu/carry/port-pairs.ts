// Character devices on a TCP port of both families, `-serial tcp::4444`: they have two sockets, and QEMU takes one as an fd.
// The new QEMU starts with a null device in their place and is told to open the port when the old one has ended, as far as
// what has the device takes another one (QEMU 10.0: users of chr_be_change). A monitor does not.

import { idOf, legacyTcpSocket } from "../command-line/monitors.ts";
import { type CommandOption, formatKeyValues, isOn, type KeyValues, parseKeyValues } from "../command-line/parse.ts";
import { countLabels } from "../handover/sockets.ts";
import type { Machine } from "../machine/schema.ts";
import type { CarryInput, CarryPlan, QmpStep } from "./subject.ts";

const exchangeable: ReadonlySet<string> = new Set([
  ...["isa-serial", "pci-serial", "usb-serial", "virtconsole", "virtserialport"],
]);

/** Opens them again at the end; with cpr-exec, where nobody else has the port, the command line names both families. */
export function carryPortPairs({
  machine,
  options,
  mode,
}: CarryInput): Pick<CarryPlan, "options" | "carried" | "after"> {
  const labels = countLabels();
  const after: QmpStep[] = [];
  const rewrite = (option: CommandOption): CommandOption[] => {
    const short = labels.of(option);
    const pair = pairOf(machine, option, short);
    if (pair === undefined) return [option];
    const { id, port } = pair;
    // Of every address.
    const host = "";
    const socket: KeyValues = [...Object.entries({ socket: undefined, id, host, port, server: "on", wait: "off" })];
    if (mode === "cpr-exec")
      return short === undefined ? [{ name: "chardev", value: formatKeyValues(socket) }] : [option];
    const data = { addr: { type: "inet", data: { host, port } }, server: true, wait: false };
    after.push({ execute: "chardev-change", arguments: { id, backend: { type: "socket", data } } });
    const nothing: KeyValues = [...Object.entries({ null: undefined, id })];
    const made = { name: "chardev", value: formatKeyValues(nothing) };
    return short === undefined ? [made] : [made, { name: option.name, value: `chardev:${id}` }];
  };
  const kept = options.flatMap(rewrite);
  const carried = after.map((step) => ({ subject: "port", what: `${pairInWords(step)}: opened again at the end` }));
  return { options: kept, carried, after };
}

/** What {@link carryPortPairs} opens, for people: "serial1 on :4444". */
export function pairInWords({ arguments: args }: QmpStep): string {
  const { id, backend } = args as { id: string; backend: { data: { addr: { data: { host: string; port: string } } } } };
  const { host, port } = backend.data.addr.data;
  return `${id} on ${host}:${port}`;
}

interface Pair {
  readonly id: string;
  readonly port: string;
}

/** What QEMU tells of a socket later on: with anything else an option is left as it is. */
const known = new Set(["id", "host", "port", "server", "wait", "nowait", "ipv4", "ipv6"]);

function pairOf(
  { chardevs, process, qom }: Machine,
  option: CommandOption,
  short: string | undefined,
): Pair | undefined {
  const { name, value = "" } = option;
  const parts = name === "chardev" ? parseKeyValues(value) : (legacyTcpSocket(value)?.rest ?? []);
  const isSocket = name === "chardev" ? parts[0]?.[0] === "socket" : name === "serial";
  const rest = name === "chardev" ? parts.slice(1) : parts;
  if (!isSocket || !isOn(parts, "server") || rest.some(([key]) => !known.has(key))) return undefined;
  const id = short ?? idOf(option);
  const filename = chardevs.find(({ label }) => label === id)?.filename ?? "";
  const port = /^(?:disconnected:)?tcp:.*?:(\d+),server=on/.exec(filename)?.[1];
  const hasIt = qom.some(({ type, properties }) => properties["chardev"] === id && exchangeable.has(type));
  if (port === undefined || !hasIt) return undefined;
  const addresses = process.tcp.filter((at) => at.endsWith(`:${port}`)).map((at) => at.slice(0, -port.length - 1));
  const isPair = addresses.includes("0.0.0.0") && addresses.some((at) => /^\[[0:]*\]$/.test(at));
  return isPair && addresses.length === 2 ? { id, port } : undefined;
}
