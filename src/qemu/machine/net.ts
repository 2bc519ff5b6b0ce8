// The network's clients and what each is connected to. QMP has no query for them: the human monitor's "info network" and
// "info usernet" have (QEMU 10.0 net/net.c, net/slirp.c).

import type { Asker } from "./ask.ts";
import type { Machine } from "./schema.ts";

/** @throws CprkitError as {@link Asker.ask} */
export async function readNet({ askHuman }: Asker): Promise<Machine["net"]> {
  const [network, usernet] = await Promise.all([askHuman("info network"), askHuman("info usernet")]);
  return { clients: parseNetwork(network), forwards: parseForwards(usernet) };
}

/**
 * A client per line, "NAME: index=N,type=TYPE,…"; its peer on the next, behind a backslash; or "hub N", and behind
 * backslashes its ports, each with its peer.
 */
export function parseNetwork(text: string): Machine["net"]["clients"] {
  const clients: Machine["net"]["clients"] = [];
  let above: string | undefined;
  for (const line of text.split(/\r?\n/)) {
    const hub = /^(hub \d+)$/.exec(line)?.[1];
    if (hub !== undefined) above = hub;
    const [, port, rest] = (above?.startsWith("hub ") === true && /^ \\ ([^:]+?)(?:: (.*))?$/.exec(line)) || [];
    if (port !== undefined && !rest?.startsWith("index=")) {
      clients.push({ name: port, type: "hubport", peer: above, info: "" });
    }
    const own = port === undefined || rest === undefined || rest.startsWith("index=") ? line : ` \\ ${rest}`;
    const [, below, name, type, info = ""] = /^( \\ )?(.+?): index=\d+,type=([\w-]+),?(.*)$/.exec(own) ?? [];
    if (name === undefined || type === undefined) continue;
    const peer = below === undefined ? undefined : own === line ? above : port;
    const owner = own === line ? clients.find((client) => client.name === peer) : undefined;
    if (owner !== undefined) owner.peer = name;
    clients.push({ name, type, ...(peer === undefined ? {} : { peer }), info });
    if (below === undefined) above = name;
  }
  return clients;
}

/** The lines of "TCP[HOST_FORWARD]" and "UDP[HOST_FORWARD]", below the line that names the netdev. */
export function parseForwards(text: string): Machine["net"]["forwards"] {
  const forwards: Machine["net"]["forwards"] = [];
  let netdev = "";
  for (const line of text.split(/\r?\n/)) {
    netdev = /^Hub -?\d+ \((.*)\):$/.exec(line)?.[1] ?? netdev;
    const [, protocol, host, hostPort, guest, guestPort] =
      /^\s*(\w+)\[HOST_FORWARD\]\s+\d+\s+(\S+)\s+(\d+)\s+(\S+)\s+(\d+)/.exec(line) ?? [];
    if (protocol === undefined) continue;
    forwards.push({
      netdev,
      protocol: protocol.toLowerCase(),
      host: `${host}:${hostPort}`,
      guest: `${guest}:${guestPort}`,
    });
  }
  return forwards;
}
