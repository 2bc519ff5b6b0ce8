// A running machine for people: what is in it, part by part. The tree of objects is for --json.

import type { Machine } from "../../qemu/machine/schema.ts";
import { counted, printable } from "../../vmstate/shown/text.ts";
import { sizeText } from "../../vmstate/shown/values.ts";
import { fit } from "./fit.ts";
import { table } from "./table.ts";

export function machineText(machine: Machine): string {
  const parts = [
    head,
    devices,
    objects,
    disks,
    nodes,
    memory,
    network,
    chardevs,
    screens,
    threads,
    sockets,
    migration,
    tail,
  ];
  return `${parts.flatMap((part) => part(machine) || []).join("\n")}`;
}

function head({ type, name, uuid, status, qemu, cpus, process }: Machine): string {
  const called = name === undefined ? "" : `, "${name}"`;
  const of = process.cgroup === undefined ? "" : `, cgroup ${process.cgroup}`;
  return [
    `Machine  ${type}${called}, ${status.status}, ${counted(cpus.count, "CPU")}${isZero(uuid) ? "" : `, UUID ${uuid}`}`,
    `QEMU     ${qemu.version} ${qemu.package}`.trimEnd(),
    `Process  ${process.pid}, ${process.program}, uid ${process.uid}, gid ${process.gid}, umask ${process.umask}, OOM score ${process.oomScoreAdj}${of}`,
    `         ${Object.values(process.namespaces).join(" ")}`,
    "",
  ]
    .map((line) => fit(printable(line), 9))
    .join("\n");
}

function isZero(uuid: string | undefined): boolean {
  return uuid === undefined || /^[0-]*$/.test(uuid);
}

function section(title: string, head: readonly string[], rows: readonly (readonly string[])[], right: string[] = []) {
  return rows.length === 0
    ? ""
    : `${title}\n${table(
        head,
        rows.map((row) => row.map(printable)),
        right,
      )}`;
}

function devices({ devices: list }: Machine): string {
  const rows = list.map(({ id = "", type, bus = "", options }) => [
    id,
    type,
    bus.split("/").at(-1) ?? "",
    pairs(options),
  ]);
  return section("Devices", ["ID", "TYPE", "BUS", "OPTIONS"], rows);
}

function objects({ objects: list }: Machine): string {
  return section(
    "Objects",
    ["ID", "TYPE", "OPTIONS"],
    list.map(({ id, type, options }) => [id, type, pairs(options)]),
  );
}

function disks({ block }: Machine): string {
  const rows = block.devices.map((one) => [
    one.device || (one.qdev ?? ""),
    one.node ?? (one.trayOpen === true ? "none, tray open" : "none"),
    pairs(one.limits),
  ]);
  const jobs = block.jobs.map((job) => [
    job.id,
    job.type,
    job.status,
    `${job["current-progress"]}/${job["total-progress"]}`,
  ]);
  const exported = block.exports.map((one) => [one.id, one.type, one["node-name"]]);
  return [
    section("Disks and drives", ["DEVICE", "NODE", "LIMITS"], rows),
    section("Jobs", ["ID", "TYPE", "STATUS", "PROGRESS"], jobs),
    section("Exports", ["ID", "TYPE", "NODE"], exported),
  ]
    .filter(Boolean)
    .join("\n");
}

function nodes({ block }: Machine): string {
  const rows = block.nodes.map(({ name, driver, file, readOnly, children, bitmaps, open }) => [
    name,
    driver,
    readOnly ? "ro" : "rw",
    children.map((child) => `${child.name}=${child.node}`).join(" "),
    bitmaps.map((bitmap) => bitmap.name ?? "unnamed").join(" "),
    open === undefined ? "" : `${open.device}/${open.inode}`,
    file,
  ]);
  return section("Block nodes", ["NODE", "DRIVER", "", "BELOW", "BITMAPS", "INODE", "FILE"], rows);
}

function memory({ memory: { blocks, backends } }: Machine): string {
  const rows = blocks.map(({ name, size, file }) => [
    name || "not in use",
    sizeText(size),
    file === undefined ? "anonymous" : `${file.link}, inode ${file.device}/${file.inode}`,
  ]);
  const shared = backends.map((one) => [
    one.id ?? "",
    sizeText(one.size),
    one.share === true ? "yes" : "no",
    one.policy,
  ]);
  return [
    section("Memory", ["BLOCK", "SIZE", "FILE"], rows, ["SIZE"]),
    section("Memory backends", ["ID", "SIZE", "SHARED", "POLICY"], shared, ["SIZE"]),
  ]
    .filter(Boolean)
    .join("\n");
}

function network({ net }: Machine): string {
  const rows = net.clients.map(({ name, type, peer = "none", info }) => [name, type, peer, info]);
  const forwards = net.forwards.map(({ netdev, protocol, host, guest }) => [netdev, protocol, host, guest]);
  return [
    section("Network", ["NAME", "TYPE", "PEER", "INFO"], rows),
    section("Forwarded ports", ["NETDEV", "PROTOCOL", "HOST", "GUEST"], forwards),
  ]
    .filter(Boolean)
    .join("\n");
}

function chardevs({ chardevs: list }: Machine): string {
  const rows = list.map((one) => [one.label, one["frontend-open"] ? "open" : "closed", one.filename]);
  return section("Character devices", ["LABEL", "GUEST", "WHAT"], rows);
}

function screens({ vnc }: Machine): string {
  const rows = vnc.flatMap(({ id, auth, server }) =>
    server.map(({ host, service, family }) => [id, family === "unix" ? service : `${host}:${service}`, auth]),
  );
  return section("VNC", ["ID", "ADDRESS", "AUTH"], rows);
}

function threads({ process, iothreads }: Machine): string {
  const poll = new Map(iothreads.map((one) => [`iothread ${one.id}`, `poll-max-ns=${one["poll-max-ns"]}`]));
  const rows = process.threads.map(({ role, cpus, nice, policy, realtimePriority }) => [
    role,
    cpus,
    policy === 0 ? `nice ${nice}` : `policy ${policy}, priority ${realtimePriority}`,
    poll.get(role) ?? "",
  ]);
  return section("Threads", ["THREAD", "CPUS", "SCHEDULING", ""], rows);
}

function sockets({ process }: Machine): string {
  const unix = process.sockets.map(({ path, mode = "", uid, gid }) => [
    path,
    mode,
    uid === undefined ? "" : `${uid}:${gid}`,
  ]);
  return section("Listening sockets", ["AT", "MODE", "OWNER"], [...unix, ...process.tcp.map((at) => [at, "", ""])]);
}

function migration({ migration: { parameters, capabilities, status } }: Machine): string {
  const on = capabilities.length === 0 ? "none" : capabilities.join(" ");
  const text = `Migration  ${status ?? "none yet"}; capabilities on: ${on}\n           ${pairs(parameters)}\n`;
  const lines = text.split("\n").map((line) => fit(printable(line), 11));
  return lines.join("\n");
}

function tail({ qom, unanswered }: Machine): string {
  const properties = qom.reduce((sum, object) => sum + Object.keys(object.properties).length, 0);
  const refused = unanswered.map(({ command }) => command).join(", ");
  return (
    `${counted(qom.length, "object")} with ${counted(properties, "property value")}: see --json\n` +
    (refused === "" ? "" : `Not answered by this QEMU: ${printable(refused)}\n`)
  );
}

function pairs(values: Readonly<Record<string, unknown>>): string {
  return Object.entries(values)
    .map(([name, value]) => `${name}=${typeof value === "string" ? value : JSON.stringify(value)}`)
    .join(" ");
}
