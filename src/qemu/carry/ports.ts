// Ports that only one of the two QEMUs can have, and for which QEMU takes no fd: the first VNC display, and gdb's. The new
// QEMU starts without them, and is told to open them when the old one has ended (QEMU 10.0 ui/vnc.c, gdbstub/system.c:
// display-update knows one display, the first).

import {
  type CommandOption,
  formatKeyValues,
  getValue,
  isOn,
  type KeyValues,
  parseKeyValues,
} from "../command-line/parse.ts";
import type { Machine } from "../machine/schema.ts";
import { pairInWords } from "./port-pairs.ts";
import type { CarryInput, CarryPlan, QmpStep } from "./subject.ts";

type Plan = Pick<CarryPlan, "options" | "carried" | "after">;

/** VNC and gdb on TCP. With cpr-exec nobody else holds the ports: what the command line opens stays there. */
export function carryPorts(input: CarryInput): Plan {
  const vnc = carryVnc(input);
  const gdb = carryGdb({ ...input, options: vnc.options });
  return { options: gdb.options, carried: [...vnc.carried, ...gdb.carried], after: [...vnc.after, ...gdb.after] };
}

/** What a command opens, for people; undefined for any other command. */
export function portOf({ execute, arguments: args = {} }: QmpStep): string | undefined {
  const line = String(args["command-line"] ?? "");
  if (execute === "display-update") return `VNC ${addressesOf(args).map(inWords).join(" and ")}`;
  if (execute === "chardev-change") return pairInWords({ execute, arguments: args });
  if (execute !== "human-monitor-command") return undefined;
  return /^(?:hostfwd_add|gdbserver) /.test(line) ? line.replace(/^hostfwd_add/, "hostfwd") : undefined;
}

interface Address {
  readonly type: "inet";
  readonly host: string;
  readonly port: string;
  readonly ipv4: boolean;
  readonly ipv6: boolean;
}

function addressesOf(args: Readonly<Record<string, unknown>>): readonly Address[] {
  return (args["addresses"] ?? []) as readonly Address[];
}

function inWords({ host, port }: Address): string {
  return `${host.includes(":") ? `[${host}]` : host}:${port}`;
}

function carryVnc({ machine, options, mode }: CarryInput): Plan {
  const nothing: Plan = { options, carried: [], after: [] };
  const option = options.find(({ name }) => name === "vnc");
  const parts = displayParts(option);
  const [first] = parts;
  const id = getValue(parts, "id") ?? "default";
  const display = machine.vnc.find((one) => one.id === id);
  const isListed = first?.[0] !== "none";
  // A connection that QEMU makes, and websockets, which display-update does not know.
  if (display === undefined || isOn(parts, "reverse") || display.server.some((one) => one["websocket"] === true)) {
    return nothing;
  }
  const addresses = display.server.filter(({ family }) => /^ipv[46]$/.test(family)).map(addressOf);
  if (addresses.length === 0 || (mode === "cpr-exec" && isListed)) return nothing;
  const closed: CommandOption = {
    name: "vnc",
    value: formatKeyValues([["none", undefined], ...parts.slice(1).filter(([key]) => key !== "to")]),
  };
  const step = { execute: "display-update", arguments: { type: "vnc", addresses } };
  return {
    // QEMU opens one by itself where it is told of no display at all.
    options: option === undefined ? [...options, closed] : options.map((each) => (each === option ? closed : each)),
    carried: [
      { subject: `vnc ${id}`, what: `VNC on ${addresses.map(inWords).join(" and ")}: opened again at the end` },
    ],
    after: [step],
  };
}

function displayParts(option: CommandOption | undefined): KeyValues {
  // The first word's key may be written or left out.
  return option?.value === undefined ? [] : parseKeyValues(option.value.replace(/^vnc=/, ""));
}

function addressOf({ host, service, family }: Machine["vnc"][number]["server"][number]): Address {
  return { type: "inet", host, port: service, ipv4: family === "ipv4", ipv6: family === "ipv6" };
}

function carryGdb({ machine, options, mode }: CarryInput): Plan {
  const filename = machine.chardevs.find(({ label }) => label === "gdb")?.filename ?? "";
  const [, host, port] = /^(?:disconnected:)?tcp:(.*):(\d+),server=on/.exec(filename) ?? [];
  const isOption = ({ name, value = "" }: CommandOption) =>
    name === "s" || (name === "gdb" && value.startsWith("tcp:"));
  const isListed = options.some(isOption);
  if (mode === "cpr-exec" && isListed) return { options, carried: [], after: [] };
  const kept = options.filter((option) => !isOption(option));
  if (host === undefined || port === undefined) {
    const carried = isListed ? [{ subject: "gdb", what: "gdb's port: closed since the start" }] : [];
    return { options: kept, carried, after: [] };
  }
  // Without a host there are two sockets, of which QEMU shows one.
  const isBoth =
    machine.process.tcp.filter((at) => /^(0\.0\.0\.0|\[[0:]*\]):/.test(at) && at.endsWith(`:${port}`)).length > 1;
  const line = `gdbserver tcp:${isBoth ? "" : host}:${port}`;
  return {
    options: kept,
    carried: [{ subject: "gdb", what: `gdb on ${isBoth ? "" : host}:${port}: opened again at the end` }],
    after: [{ execute: "human-monitor-command", arguments: { "command-line": line } }],
  };
}
