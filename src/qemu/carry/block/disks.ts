// Disks and discs as they are now: media that were changed, layers that were added or committed, nodes that were added or
// removed. The command line is rewritten, so that it says what runs.

import { isMachine, withMembers, withoutMember } from "../../command-line/members.ts";
import { isWhole, objectParts } from "../../command-line/monitors.ts";
import { type CommandOption, formatKeyValues, getValue, type KeyValues } from "../../command-line/parse.ts";
import { blocker, type Finding, warning } from "../../finding.ts";
import type { Machine } from "../../machine/schema.ts";
import type { Carried, CarryInput, CarryPlan, QmpStep } from "../subject.ts";
import { givenNodes, isOfMedium } from "./given.ts";
import { letIdleGo } from "./idle-nodes.ts";
import { type Graph, localDrivers, nothingInherited, optionsOf } from "./node-options.ts";
import { isTree, type NodeOptions, text, toKeyValues } from "./spec.ts";
import { blockdevOptions, deviceOption, nodeNameFor, type State, stateOf, untoldAt } from "./state.ts";

/** Each device with the node that it has now, and every node under its name. */
export function carryDisks(
  input: CarryInput,
): Pick<CarryPlan, "options" | "carried" | "findings" | "before" | "after" | "release"> {
  const state = stateOf(input);
  const { options, carried, before } = rewritten(state);
  return { options, carried, findings: findingsOf(state), before, ...letIdleGo(state) };
}

function findingsOf({ graph, own, late, drives, untold }: State): Finding[] {
  const shown = (name: string) => {
    const guess = untoldAt(untold, name);
    const node = graph.nodes.get(name);
    const isFile = node !== undefined && localDrivers.has(node.driver);
    const assumed = Object.entries(isFile ? guess.protocol : guess.format).map(([key, value]) => `${key}=${value}`);
    return assumed.length === 0 ? "QEMU's defaults are assumed" : `${assumed.join(", ")} is assumed`;
  };
  const added = [...own, ...late].filter((name) => !name.startsWith("#") && !graph.given.has(name));
  return [
    ...[...graph.unknown].map((name) => {
      const { driver = "", file = "" } = graph.nodes.get(name) ?? {};
      const message = `node ${name} (${driver}, ${file}) was added since the start, and QEMU does not tell how to make it again`;
      return blocker(
        "disk-changed",
        message,
        "remove it for the update, or give the whole new command line after --",
        name,
      );
    }),
    ...added.map((name) => {
      const message = `node ${name} was added since the start: QEMU does not tell its options aio, discard and locking; ${shown(name)}`;
      return warning("node-options", message, "if that is wrong, give the whole new command line after --", name);
    }),
    ...[...graph.nodes.values()].filter(isLuks).map(({ name, file }) => {
      const message = `${name.startsWith("#") ? file : name} is an encrypted qcow2 image: QEMU derives its key once more while the guest stands still, which takes seconds`;
      return warning(
        "luks-pause",
        message,
        "nothing to do; an image of the driver luks in place of qcow2 with LUKS has no such pause",
        name,
      );
    }),
    ...drives
      .filter(({ isSnapshot }) => isSnapshot)
      .map(({ name }) => {
        const message = `-drive snapshot=on (${name}): the changes of the disk are in a temporary file that no other QEMU can open`;
        return blocker("snapshot", message, "give the drive a file of its own", name);
      }),
  ];
}

/** QEMU 10.0 block/qcow2.c opens the image anew when it takes it over. */
function isLuks({ driver, other }: Machine["block"]["nodes"][number]): boolean {
  return driver === "qcow2" && JSON.stringify(other["format-specific"])?.includes('"format":"luks"') === true;
}

interface Rewritten {
  readonly options: readonly CommandOption[];
  readonly carried: readonly Carried[];
  readonly before: readonly QmpStep[];
}

function rewritten(state: State): Rewritten {
  const { input, graph, own, late } = state;
  const carried: Carried[] = [];
  const note = (subject: string, what: string) => carried.push({ subject, what });
  const options: (CommandOption | undefined)[] = [...input.options];
  rewriteDrives(state, options, note);
  rewriteDevices(state, options, note);
  const given = new Map(givenNodes(input.options).map((each) => [each.name, each]));
  const lines = own.map((name): CommandOption => {
    const was = given.get(name);
    const now = blockdevOptions(state, name);
    if (was !== undefined && isSame(was.options, now)) return input.options[was.at] ?? { name: "blockdev" };
    note(graph.refOf(name) ?? name, `node ${graph.refOf(name) ?? name}: ${inWords(graph, name)}`);
    const value = state.asKeyValues.has(name) ? formatKeyValues(toKeyValues(now)) : JSON.stringify(now);
    return { name: "blockdev", value };
  });
  for (const [name] of given) {
    if (!own.includes(name) && !graph.nodes.has(name)) note(name, `node ${name} was removed`);
  }
  const before = late.map((name): QmpStep => {
    note(name, `node ${name}: ${inWords(graph, name)}`);
    const now = blockdevOptions(state, name);
    return { execute: "blockdev-add", arguments: withRoots(state, name, now) };
  });
  return { options: withNodes(options, lines), carried, before };
}

/** The children that are nodes of drives, by their names. */
function withRoots({ graph, running }: State, name: string, options: NodeOptions): NodeOptions {
  const roots = new Map([...running].map(([device, { node }]) => [node, device]));
  const children = graph.nodes.get(name)?.children ?? [];
  const refs = children.flatMap((child) => {
    const device = roots.get(child.node);
    return device === undefined ? [] : [[child.name, child.node.startsWith("#") ? device : child.node]];
  });
  return { ...options, ...Object.fromEntries(refs) };
}

/** All -blockdev at the place of the first, or before what may refer to them. */
function withNodes(options: readonly (CommandOption | undefined)[], lines: readonly CommandOption[]): CommandOption[] {
  const isNode = (option: CommandOption | undefined) => option?.name === "blockdev";
  const first = options.findIndex(isNode);
  const users = options.findIndex((option) => option?.name === "drive" || option?.name === "device");
  const at = first >= 0 ? first : users >= 0 ? users : options.length;
  const others = (some: readonly (CommandOption | undefined)[]) =>
    some.flatMap((option) => (option === undefined || isNode(option) ? [] : [option]));
  return [...others(options.slice(0, at)), ...lines, ...others(options.slice(at))];
}

type Note = (subject: string, what: string) => void;

function rewriteDrives({ graph, drives, running, untold }: State, options: (CommandOption | undefined)[], note: Note) {
  for (const drive of drives) {
    const now = running.get(drive.name);
    if (now === undefined) {
      if (!drive.hasId) continue;
      options[drive.at] = undefined;
      note(drive.name, `drive ${drive.name} was removed`);
      continue;
    }
    if (now.node === undefined) {
      if (drive.options === undefined) continue;
      options[drive.at] = driveOption(
        drive.own.filter(([key]) => !isOfMedium(key)),
        undefined,
      );
      note(drive.name, `${drive.name}: no medium`);
      continue;
    }
    const { format, protocol } = untoldAt(untold, now.node);
    // "aio=" of the drive reaches all nodes.
    const { aio: _, ...rest } = protocol;
    const wanted = optionsOf(graph, now.node, drive.options, inheritedOf(drive), { format, protocol: rest });
    if (drive.options !== undefined && isSame(drive.options, wanted)) continue;
    // Of another file the format must not be guessed.
    options[drive.at] = driveOption(drive.own, { driver: graph.nodes.get(now.node)?.driver, ...wanted });
    note(drive.name, `${drive.name}: ${inWords(graph, now.node)}`);
  }
  // What stands in such a file is not looked at.
  if (!isWhole(options)) return;
  for (const [name, { node, qdev }] of running) {
    if (drives.some((drive) => drive.name === name)) continue;
    const isBoard = qdev === undefined ? false : qdev.startsWith("/machine/unattached/");
    if (node === undefined && isBoard) continue;
    const own = ownOf(name, isBoard);
    const inherited = {
      ...nothingInherited,
      readOnly: own.some(([, value]) => value === "cdrom"),
      autoReadOnly: true,
      probes: true,
    };
    const wanted =
      node === undefined ? undefined : optionsOf(graph, node, undefined, inherited, untoldAt(new Map(), node));
    const first = options.findIndex((option) => option?.name === "device");
    options.splice(first < 0 ? options.length : first, 0, driveOption(own, wanted));
    note(name, node === undefined ? `drive ${name}` : `${name}: ${inWords(graph, node)}`);
  }
}

/** A drive that no option names: of the board ("ide2-cd0", "floppy0"), or added since. */
function ownOf(name: string, isBoard: boolean): KeyValues {
  const place = /^([a-z]+)(?:(\d+)-(cd|hd))?(\d+)$/.exec(name);
  if (!isBoard || place === null) {
    return [
      ["if", "none"],
      ["id", name],
    ];
  }
  const [, kind = "", bus, medium, unit = "0"] = place;
  return [
    ["if", kind],
    ...(bus === undefined ? [] : [["bus", bus] as const]),
    ["unit", unit],
    ...(medium === "cd" ? [["media", "cdrom"] as const] : []),
  ];
}

function inheritedOf({ own, readOnly }: State["drives"][number]) {
  const mode = getValue(own, "cache");
  return {
    readOnly,
    autoReadOnly: true,
    probes: true,
    direct: mode === "none" || mode === "directsync",
    noFlush: mode === "unsafe",
  };
}

function driveOption(own: KeyValues, node: NodeOptions | undefined): CommandOption {
  if (node === undefined) return { name: "drive", value: formatKeyValues(own) };
  const { driver, file, "read-only": readOnly, cache, ...rest } = node;
  const isPlain = isTree(file) && Object.keys(file).every((key) => key === "filename" || key === "driver");
  const path = isPlain && isTree(file) ? text(file["filename"]) : undefined;
  const writes = readOnly === undefined ? [] : [["read-only", readOnly] as const];
  return {
    name: "drive",
    value: formatKeyValues([
      ...own.filter(([key]) => readOnly === undefined || !["readonly", "read-only"].includes(key)),
      ...toKeyValues({
        ...(driver === undefined ? {} : { format: driver }),
        ...Object.fromEntries(writes),
        ...rest,
        ...(cache === undefined || isFromMode(own, cache) ? {} : { cache }),
        ...(file === undefined ? {} : { file: path ?? file }),
      }),
    ]),
  };
}

/** "cache=none" says it already. */
function isFromMode(own: KeyValues, cache: unknown): boolean {
  const mode = getValue(own, "cache");
  const says = { direct: mode === "none" || mode === "directsync", "no-flush": mode === "unsafe" };
  return mode !== undefined && isTree(cache) && isSame({ ...says, ...switches(cache) }, says);
}

function switches(tree: NodeOptions): NodeOptions {
  return Object.fromEntries(Object.entries(tree).map(([key, value]) => [key, value === true || value === "on"]));
}

/** `drive=` of devices whose node is another one now; the node may have no name, or be none. */
function rewriteDevices({ input, graph }: State, options: (CommandOption | undefined)[], note: Note): void {
  const { machine } = input;
  for (const { device, qdev, node } of machine.block.devices) {
    const place = pflashOf(qdev);
    const at = place === undefined ? deviceOption(input.options, qdev) : machineOption(input.options, place);
    const option = at === undefined ? undefined : input.options[at];
    if (option?.value === undefined) continue;
    const key = place ?? "drive";
    const was = getValue(objectParts(option.value), key);
    const now = device !== "" ? device : node === undefined ? undefined : nodeNameFor(machine, node);
    // A board's drive of its own, if=pflash.
    const isOther = was !== now && (place === undefined || was !== undefined);
    const geometry = geometryOf(input, option.value, qdev, node);
    // The option in its new place: options before it may have been added.
    const index = options.indexOf(option);
    if (index < 0 || (!isOther && geometry.length === 0)) continue;
    const others = isOther && now === undefined ? withoutMember(option.value, key) : option.value;
    const set = { ...(isOther && now !== undefined ? { [key]: now } : {}), ...Object.fromEntries(geometry) };
    options[index] = { name: option.name, value: withMembers(others, set) };
    if (isOther) note(qdev ?? "", `${qdev}: ${node === undefined ? "no medium" : inWords(graph, node)}`);
  }
}

/**
 * A disk that was resized keeps the geometry that the guest has seen, which QEMU derives from the size at the start
 * (QEMU 10.0 hw/block/hd-geometry.c).
 */
function geometryOf(
  { machine }: CarryInput,
  option: string,
  qdev: string | undefined,
  node: string | undefined,
): readonly (readonly [name: string, value: number])[] {
  const device = machine.devices.find(({ id, path }) => id === qdev || (qdev?.startsWith(path) ?? false));
  const size = machine.block.nodes.find(({ name }) => name === node)?.size;
  const { cyls, heads, secs } = device?.options ?? {};
  if (size === undefined || typeof cyls !== "number" || heads !== 16 || secs !== 63) return [];
  const derived = Math.min(16_383, Math.max(2, Math.floor(size / (512 * heads * secs))));
  if (cyls === derived || getValue(objectParts(option), "cyls") !== undefined) return [];
  return [
    ["cyls", cyls],
    ["heads", heads],
    ["secs", secs],
  ];
}

function pflashOf(qdev: string | undefined): string | undefined {
  const number = /^\/machine\/system\.flash(\d)$/.exec(qdev ?? "")?.[1];
  return number === undefined ? undefined : `pflash${number}`;
}

function machineOption(options: readonly CommandOption[], key: string): number | undefined {
  const at = options.findLastIndex(
    ({ name, value = "" }) => isMachine(name) && getValue(objectParts(value), key) !== undefined,
  );
  return at < 0 ? undefined : at;
}

function isSame(given: unknown, now: unknown): boolean {
  if (isTree(given) && isTree(now)) {
    const keys = new Set([...Object.keys(given), ...Object.keys(now)]);
    return [...keys].every((key) => isSame(given[key], now[key]));
  }
  return JSON.stringify(given) === JSON.stringify(now);
}

function inWords({ nodes }: Graph, name: string): string {
  const node = nodes.get(name);
  if (node === undefined) return name;
  return `${node.driver} ${node.file.startsWith("json:") ? "" : node.file}`.trimEnd();
}
