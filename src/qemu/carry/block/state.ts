// The block graph as it runs beside what the command line says of it: which node gets an option of its own, which is
// written within another one's.

import { objectParts } from "../../command-line/monitors.ts";
import { type CommandOption, getValue, parseKeyValues } from "../../command-line/parse.ts";
import type { Machine } from "../../machine/schema.ts";
import type { CarryInput } from "../subject.ts";
import { type GivenDrive, givenDrives, givenNodes } from "./given.ts";
import { type Graph, nothingInherited, optionsOf, type Untold, untoldOf } from "./node-options.ts";
import { isTree, type NodeOptions, text } from "./spec.ts";

type BlockDevice = Machine["block"]["devices"][number];

/** What the parts of this folder look at. */
export interface State {
  readonly input: CarryInput;
  readonly graph: Graph;
  readonly drives: readonly GivenDrive[];
  /** The named drives of the running QEMU. */
  readonly running: ReadonlyMap<string, BlockDevice>;
  /** Nodes with an option of their own, those below first. */
  readonly own: readonly string[];
  /** The same that need the node of a drive, which no option can refer to. */
  readonly late: readonly string[];
  /** By node: what QEMU does not tell, as the command line has it for the device above. */
  readonly untold: ReadonlyMap<string, Untold>;
  /** Nodes that the command line names in key=value. */
  readonly asKeyValues: ReadonlySet<string>;
}

/** Pure. */
export function stateOf(input: CarryInput): State {
  const { machine, options, process } = input;
  const { devices, nodes } = machine.block;
  const drives = givenDrives(options, machine.type.includes("q35"));
  const given = new Map<string, NodeOptions>();
  const inJson = new Map<string, NodeOptions>();
  for (const each of givenNodes(options)) {
    collectNames(each.options, given);
    if (each.form === "json") collectNames(each.options, inJson);
  }
  for (const drive of drives) if (drive.options !== undefined) collectNames(asBlockdev(drive), given);
  const byName = new Map(nodes.map((node) => [node.name, node]));
  const running = new Map(devices.flatMap((each) => (each.device === "" ? [] : [[each.device, each] as const])));
  const inside = nestedNodes(input, drives, running, byName);
  const roots = new Set([...running.values()].flatMap(({ node }) => node ?? []));
  const inDevice = new Set(devices.flatMap(({ device, node }) => (device === "" && node !== undefined ? [node] : [])));
  const refOf = (name: string) => {
    if (inside.has(name) || roots.has(name)) return undefined;
    return name.startsWith("#") && !inDevice.has(name) ? undefined : nodeNameFor(machine, name);
  };
  const graph = { nodes: byName, cwd: process.cwd, given, refOf, unknown: new Set<string>() };
  const sorted = belowFirst(
    nodes.map(({ name }) => name),
    byName,
  ).filter((name) => refOf(name) !== undefined);
  const needsDrive = (name: string): boolean =>
    roots.has(name) || (byName.get(name)?.children.some((child) => needsDrive(child.node)) ?? false);
  return {
    input,
    graph,
    drives,
    running,
    own: sorted.filter((name) => !needsDrive(name)),
    late: sorted.filter(needsDrive),
    untold: untoldByNode(input, graph, drives),
    // Of key=value all values are texts, which JSON does not take for numbers and switches.
    asKeyValues: new Set([...given.keys()].filter((name) => !inJson.has(name))),
  };
}

/** What a -blockdev says, or QMP's blockdev-add. */
export function blockdevOptions({ graph, untold }: State, name: string): NodeOptions {
  return optionsOf(graph, name, graph.given.get(name), nothingInherited, untoldAt(untold, name));
}

export function untoldAt(untold: State["untold"], name: string): Untold {
  return untold.get(name) ?? { format: {}, protocol: {} };
}

function collectNames(options: NodeOptions, into: Map<string, NodeOptions>): void {
  const name = text(options["node-name"]);
  if (name !== undefined) into.set(name, options);
  for (const child of Object.values(options)) if (isTree(child)) collectNames(child, into);
}

/** The node of a drive as a -blockdev would make it. */
function asBlockdev({ options = {}, own, readOnly }: GivenDrive): NodeOptions {
  const aio = getValue(own, "aio");
  const { file } = options;
  return {
    ...options,
    ...(readOnly ? { "read-only": true } : {}),
    ...(aio !== undefined && isTree(file) ? { file: { aio, ...file } } : {}),
  };
}

/** Named nodes that are, and stay, written within their parent's option. */
function nestedNodes(
  { machine, options }: CarryInput,
  drives: readonly GivenDrive[],
  running: ReadonlyMap<string, BlockDevice>,
  nodes: ReadonlyMap<string, Machine["block"]["nodes"][number]>,
): ReadonlySet<string> {
  const inside = new Set<string>();
  const parents = new Map<string, number>();
  for (const { children } of machine.block.nodes) {
    for (const { node } of children) parents.set(node, (parents.get(node) ?? 0) + 1);
  }
  const walk = (given: NodeOptions, name: string | undefined, isDrive: boolean) => {
    for (const child of nodes.get(name ?? "")?.children ?? []) {
      const there = given[child.name];
      const isThere = isTree(there) && there["node-name"] === child.node;
      // "file" of a drive can't be the name of a node.
      const must = isDrive && child.name === "file" && parents.get(child.node) === 1;
      if (!isThere && !must) {
        if (isTree(there) && child.node.startsWith("#")) walk(there, child.node, isDrive);
        continue;
      }
      inside.add(child.node);
      walk(isTree(there) ? there : {}, child.node, isDrive);
    }
  };
  for (const { name, options: given } of givenNodes(options)) walk(given, name, false);
  for (const drive of drives) walk(drive.options ?? {}, running.get(drive.name)?.node, true);
  for (const [name, { node }] of running) if (!drives.some((drive) => drive.name === name)) walk({}, node, true);
  return inside;
}

function belowFirst(names: readonly string[], nodes: ReadonlyMap<string, Machine["block"]["nodes"][number]>): string[] {
  const sorted = new Set<string>();
  const visit = (name: string) => {
    if (sorted.has(name)) return;
    for (const child of nodes.get(name)?.children ?? []) visit(child.node);
    sorted.add(name);
  };
  for (const name of names) visit(name);
  return [...sorted];
}

function untoldByNode(
  { machine, options }: CarryInput,
  { nodes, given }: Graph,
  drives: readonly GivenDrive[],
): ReadonlyMap<string, Untold> {
  const found = new Map<string, Untold>();
  const give = (name: string, untold: Untold) => {
    if (found.has(name)) return;
    found.set(name, untold);
    for (const child of nodes.get(name)?.children ?? []) give(child.node, untold);
  };
  for (const device of machine.block.devices) {
    if (device.node === undefined) continue;
    const drive = drives.find(({ name }) => device.device !== "" && name === device.device);
    const at = deviceOption(options, device.qdev);
    const was = at === undefined ? undefined : getValue(objectParts(options[at]?.value ?? ""), "drive");
    const before = drive !== undefined ? asBlockdev(drive) : given.get(was ?? "");
    give(device.node, untoldOf(before, given));
  }
  return found;
}

/**
 * The name by which an option of the new QEMU refers to a node. A node that a device has and that has no name
 * ("#block123", of a medium or snapshot that was given by its file) gets one.
 */
export function nodeNameFor({ block }: Machine, node: string): string {
  if (!node.startsWith("#")) return node;
  const names = new Set(block.nodes.map(({ name }) => name));
  let name = `cprkit-${node.slice(1)}`;
  while (names.has(name)) name += "x";
  return name;
}

/** The -device that made a disk's device: by its id, or, without one, by its number among those without. */
export function deviceOption(options: readonly CommandOption[], qdev = ""): number | undefined {
  const id = /^\/machine\/peripheral\/([^/]+)/.exec(qdev)?.[1] ?? (qdev.startsWith("/") ? undefined : qdev);
  const idOf = ({ value = "" }: CommandOption) => getValue(objectParts(value), "id");
  if (id !== undefined && id !== "") {
    const at = options.findIndex((option) => option.name === "device" && idOf(option) === id);
    return at < 0 ? undefined : at;
  }
  const number = /^\/machine\/peripheral-anon\/device\[(\d+)\]/.exec(qdev)?.[1];
  if (number === undefined) return undefined;
  // QEMU makes those in key=value first, then the devices of if=virtio, then those in JSON (QEMU 10.0 system/vl.c).
  const without = options.flatMap((option, at) => {
    const { name, value = "" } = option;
    if (name === "device" && idOf(option) === undefined) return [{ at, order: value.startsWith("{") ? 2 : 0 }];
    return name === "drive" && getValue(parseKeyValues(value), "if") === "virtio" ? [{ at, order: 1 }] : [];
  });
  const found = without.toSorted((a, b) => a.order - b.order)[Number(number)];
  return found === undefined || found.order === 1 ? undefined : found.at;
}
