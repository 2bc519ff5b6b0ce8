// Network back ends that were added or removed since the VM's start, and forwarded ports. QEMU does not tell how a back
// end was set up: what its line in "info network" shows is what there is.

import { withoutMember } from "../command-line/members.ts";
import { idOf, isWhole, objectParts } from "../command-line/monitors.ts";
import {
  type CommandOption,
  formatKeyValues,
  getValue,
  type KeyValues,
  parseKeyValues,
} from "../command-line/parse.ts";
import { blocker, type Finding, warning } from "../finding.ts";
import type { Machine } from "../machine/schema.ts";
import type { Carried, CarryInput, CarryPlan, QmpStep } from "./subject.ts";

type Client = Machine["net"]["clients"][number];
type Plan = Pick<CarryPlan, "options" | "carried" | "findings" | "before" | "after">;

/** -netdev for each back end that the VM has now; forwarded ports when the old QEMU has let go of them. */
export function carryNetdevs({ machine, options }: CarryInput): Plan {
  const { clients, forwards } = machine.net;
  const backends = clients.filter(({ type, name }) => type !== "nic" && !isMadeByQemu(name));
  const onLine = new Map(
    options.flatMap((option) => (option.name === "netdev" ? [[idOf(option), option] as const] : [])),
  );
  const gone = [...onLine].filter(([id]) => !backends.some(({ name }) => name === id));
  // What is in a file of -readconfig may be from there.
  const isSeen = isWhole(options);
  const added = [...new Map(backends.map((each) => [each.name, each])).values()].filter(
    ({ name }) => isSeen && !onLine.has(name) && !isGivenElsewhere(name, options),
  );
  const held = gone.filter(([id]) => holdsPlace(id, options, backends));
  const left = new Set(gone.filter(([id]) => !held.some(([each]) => each === id)).map(([, option]) => option));
  const made = added.map((client) => ({ client, ...optionOf(client, backends) }));
  return {
    options: [
      ...options.filter((option) => !left.has(option)).map(withoutForwards),
      ...made.flatMap(({ parts }) => (parts === undefined ? [] : [{ name: "netdev", value: formatKeyValues(parts) }])),
    ],
    carried: [
      ...gone.map(([id]): Carried => ({ subject: id, what: `network ${id}: removed since the start` })),
      ...made.flatMap(({ client: { name, type }, parts }): Carried[] =>
        parts === undefined ? [] : [{ subject: name, what: `network ${name} (${type}): added since the start` }],
      ),
      ...forwards.map(
        ({ netdev, protocol, host, guest }): Carried => ({
          subject: netdev,
          what: `forwarded port of ${netdev}: ${protocol} ${host} to ${guest}`,
        }),
      ),
    ],
    findings: [
      ...made.flatMap(({ finding }) => finding ?? []),
      ...forwards.flatMap(({ netdev, host }) => (isSure(netdev, clients) ? [] : [unnamed(netdev, host)])),
    ],
    before: held.map(([id]) => ({ execute: "netdev_del", arguments: { id } })),
    after: forwards.map(forwardStep),
  };
}

/** "#net012", "hub0port0". */
function isMadeByQemu(name: string): boolean {
  return /^#net\d+$|^hub\d+port\d+$/.test(name);
}

function isGivenElsewhere(name: string, options: readonly CommandOption[]): boolean {
  return options.some(
    ({ name: option, value = "" }) => ["nic", "net"].includes(option) && getValue(objectParts(value), "id") === name,
  );
}

/**
 * The state of each user network is told from the others by the number that it got when it was made (QEMU 10.0
 * net/slirp.c). One that is gone is made all the same, and removed at once, so that those after it get theirs.
 */
function holdsPlace(id: string, options: readonly CommandOption[], backends: readonly Client[]): boolean {
  const users = options.filter(
    ({ name, value = "" }) =>
      name === "netdev" && (getValue(objectParts(value), "type") ?? parseKeyValues(value)[0]?.[0]) === "user",
  );
  const at = users.findIndex((option) => idOf(option) === id);
  return at >= 0 && users.slice(at + 1).some((option) => backends.some(({ name }) => name === idOf(option)));
}

interface Made {
  readonly parts?: KeyValues;
  readonly finding?: Finding;
}

function optionOf({ name, type, info }: Client, backends: readonly Client[]): Made {
  const made = (...more: readonly (readonly [string, string])[]): Made => ({
    parts: [[type, undefined], ["id", name], ...more],
  });
  switch (type) {
    case "user": {
      const [, net = "", restrict = "off"] = /^net=([^,]*),restrict=(on|off)/.exec(info) ?? [];
      const network = net === "10.0.2.0" ? [] : [["net", `${net}/24`] as const];
      return {
        ...made(...network, ...(restrict === "on" ? [["restrict", "on"] as const] : [])),
        finding: unseen(name, `QEMU tells its network and "restrict" alone: ${info}`, net === "10.0.2.0"),
      };
    }
    case "hubport": {
      const hub = /^hub (\d+)$/.exec(backends.find((each) => each.name === name)?.peer ?? "")?.[1];
      return hub === undefined ? refused(name, type) : made(["hubid", hub]);
    }
    case "socket": {
      const [, what, address] = /^socket: (mcast=|connect to )(.*)$/.exec(info) ?? [];
      if (address === undefined) return refused(name, type);
      return made([what === "mcast=" ? "mcast" : "connect", address]);
    }
    case "stream": {
      const unix = /^unix:(\/.*)$/.exec(info)?.[1];
      const [, host, port] = /^tcp:(.*):(\d+)$/.exec(info) ?? [];
      // One that listens is shown with its client's address, or none.
      if (unix !== undefined) return made(["server", "off"], ["addr.type", "unix"], ["addr.path", unix]);
      if (host === undefined || port === undefined) return refused(name, type);
      return made(["server", "off"], ["addr.type", "inet"], ["addr.host", host], ["addr.port", port]);
    }
    case "dgram": {
      const [, host, port, toHost, toPort] = /^udp=([\d.]+):(\d+)\/([\d.]+):(\d+)$/.exec(info) ?? [];
      if (host === undefined || port === undefined || toHost === undefined || toPort === undefined) {
        return refused(name, type);
      }
      const side = (key: string, at: string, number: string) =>
        [
          [`${key}.type`, "inet"],
          [`${key}.host`, at],
          [`${key}.port`, number],
        ] as const;
      return made(...side("local", host, port), ...side("remote", toHost, toPort));
    }
    case "tap": {
      const [, ifname, script, downscript] = /^ifname=([^,]*),script=([^,]*),downscript=([^,]*)$/.exec(info) ?? [];
      const queues = backends.filter((each) => each.name === name).length;
      if (ifname === undefined || script === undefined || downscript === undefined) return refused(name, type);
      return {
        ...made(
          ["ifname", ifname],
          ["script", script],
          ["downscript", downscript],
          ...(queues > 1 ? [["queues", String(queues)] as const] : []),
        ),
        finding: unseen(name, `QEMU does not tell whether it has vhost=on, or a sndbuf: ${info}`, true),
      };
    }
    default:
      return refused(name, type);
  }
}

function unseen(name: string, what: string, isUsual: boolean): Finding {
  const message = `network ${name} was added since the start: ${what}`;
  const remedy = "if netdev_add gave it other options, give the whole new command line after --";
  return (isUsual ? warning : blocker)("options-unseen", message, remedy, name);
}

function refused(name: string, type: string): Made {
  const message = `network ${name} (${type}) was added since the start, and QEMU does not tell how it was set up`;
  const remedy = "remove it for the update (netdev_del), or give the whole new command line after --";
  return { finding: blocker("options-unseen", message, remedy, name) };
}

/** Both QEMUs can't have the ports at once. */
function withoutForwards(option: CommandOption): CommandOption {
  const { name, value = "" } = option;
  if (!["netdev", "nic", "net"].includes(name) || !value.includes("hostfwd")) return option;
  return { name, value: withoutMember(value, "hostfwd") };
}

/** The new QEMU draws another name for a network without one; where there is one only, none is needed. */
function isSure(netdev: string, clients: readonly Client[]): boolean {
  return !netdev.startsWith("#") || clients.filter(({ type }) => type === "user").length === 1;
}

function unnamed(netdev: string, host: string): Finding {
  const message = `the forwarded port ${host} belongs to a network without an id (${netdev}), of which there are several`;
  return blocker("port-taken", message, "remove it for the update (hostfwd_remove), and add it again after", netdev);
}

/** QMP has no command for it (QEMU 10.0 hmp-commands.hx, hostfwd_add). */
function forwardStep({ netdev, protocol, host, guest }: Machine["net"]["forwards"][number]): QmpStep {
  const port = host.slice(host.lastIndexOf(":") + 1);
  const address = host.slice(0, host.lastIndexOf(":")).replace(/^\*$/, "");
  const line = `hostfwd_add ${netdev.startsWith("#") ? "" : `${netdev} `}${protocol}:${address}:${port}-${guest}`;
  return { execute: "human-monitor-command", arguments: { "command-line": line } };
}
