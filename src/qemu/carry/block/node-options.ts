// The options that build a node as it is now: those that the command line gave it, changed where the running node differs;
// of a node that was added since, what QEMU tells of it.

import { resolve } from "node:path";
import type { Machine } from "../../machine/schema.ts";
import { isTree, type NodeOptions, nested, switchOf, text } from "./spec.ts";

type Node = Machine["block"]["nodes"][number];

/** What the options of one node depend on. */
export interface Graph {
  readonly nodes: ReadonlyMap<string, Node>;
  readonly cwd: string;
  /** What the command line says of a node with a name. */
  readonly given: ReadonlyMap<string, NodeOptions>;
  /** The name by which other options refer to a node; undefined for one that is written within its parent. */
  refOf(node: string): string | undefined;
  /** Nodes of which nothing can be said. */
  readonly unknown: Set<string>;
}

/** What a node has from its parent, or from its drive, where its own options say nothing. */
export interface Inherited {
  readonly readOnly: boolean;
  readonly autoReadOnly: boolean;
  readonly direct: boolean;
  readonly noFlush: boolean;
  /** QEMU finds the driver out: below a -drive. */
  readonly probes: boolean;
}

/** Of a -blockdev. */
export const nothingInherited: Inherited = {
  readOnly: false,
  autoReadOnly: false,
  direct: false,
  noFlush: false,
  probes: false,
};

/** What QEMU does not tell of a node: as it was for the one that had its place. */
export interface Untold {
  /** Of a format or filter. */
  readonly format: NodeOptions;
  /** Of a file or device. */
  readonly protocol: NodeOptions;
}

/** What QEMU does not tell of a tree of nodes, by its options. */
export function untoldOf(options: NodeOptions | undefined, given: ReadonlyMap<string, NodeOptions>): Untold {
  if (options === undefined) return { format: {}, protocol: {} };
  const file = options["file"];
  const below = isTree(file) ? file : given.get(text(file) ?? "");
  if (below === undefined) return { format: {}, protocol: pick(options) };
  const { protocol } = untoldOf(below, given);
  const { aio, ...format } = pick(options);
  return { format, protocol: aio === undefined ? protocol : { ...protocol, aio } };
}

function pick(options: NodeOptions): NodeOptions {
  return Object.fromEntries(
    ["discard", "aio", "locking"].flatMap((key) => (key in options ? [[key, options[key]]] : [])),
  );
}

/** The options of a running node. `given` are those of the command line for it, or for what was in its place. */
export function optionsOf(
  graph: Graph,
  name: string,
  given: NodeOptions | undefined,
  inherited: Inherited,
  untold: Untold,
): NodeOptions {
  const node = graph.nodes.get(name);
  if (node === undefined) return given ?? {};
  const isSame = given !== undefined && (given["driver"] === undefined || given["driver"] === node.driver);
  const start: NodeOptions = isSame
    ? given
    : { driver: node.driver, ...(given === undefined ? toldOf(graph, node, untold) : kept(given)) };
  const options: Record<string, unknown> = { ...start };
  if (options["driver"] === undefined && !inherited.probes) options["driver"] = node.driver;
  const named = name.startsWith("#") ? graph.refOf(name) : name;
  if (named !== undefined) options["node-name"] = named;
  if (localDrivers.has(node.driver)) setFileName(options, node, graph.cwd);
  const own = setSwitches(options, node, inherited);
  for (const child of node.children) setChild(graph, options, child, own, untold);
  const backing = options["backing"];
  if (!node.children.some((child) => child.name === "backing")) {
    const isInHeader = typeof node.other["backing-filename"] === "string";
    if (isInHeader && backing !== "") options["backing"] = null;
    else if (!isInHeader && backing !== undefined && backing !== null && backing !== "") delete options["backing"];
  }
  return options;
}

/** What of a node's options holds for another one in its place. */
function kept(given: NodeOptions): NodeOptions {
  const keys = ["discard", "detect-zeroes", "cache", "read-only", "auto-read-only", "force-share"];
  return Object.fromEntries(keys.flatMap((key) => (key in given ? [[key, given[key]]] : [])));
}

export const localDrivers: ReadonlySet<string> = new Set(["file", "host_device", "host_cdrom"]);

/** What QEMU says of a node that no option names. */
function toldOf(graph: Graph, node: Node, untold: Untold): NodeOptions {
  const isProtocol = !node.children.some(({ name }) => name === "file");
  const guessed = isProtocol ? (localDrivers.has(node.driver) ? untold.protocol : {}) : untold.format;
  if (localDrivers.has(node.driver)) return guessed;
  const told = strongOptions(node);
  if (told !== undefined) return { ...guessed, ...told };
  if (isProtocol || !plainDrivers.has(node.driver)) graph.unknown.add(node.name);
  return guessed;
}

/** Formats and filters that need nothing but their children. */
const plainDrivers = new Set([
  ...["raw", "qcow2", "qed", "qcow", "vmdk", "vpc", "vdi", "vhdx", "parallels", "bochs", "cloop", "dmg"],
  ...["copy-on-read", "compress"],
]);

/** Where a name can't say all, QEMU writes the options that decide on the content: "json:{…}". */
function strongOptions({ file, driver, children, other }: Node): NodeOptions | undefined {
  if (driver === "nbd" && !file.startsWith("json:")) return nbdOptions(file);
  if (/^null-(co|aio):\/\/$/.test(file)) return {};
  if (!file.startsWith("json:")) return undefined;
  try {
    const value: unknown = JSON.parse(file.slice("json:".length));
    if (!isTree(value)) return undefined;
    const others = Object.entries(value).filter(([key]) => !children.some(({ name }) => name === key));
    if (others.some(([key]) => key === "children")) return undefined;
    const options = nested(others);
    if (!isTree(options["encrypt"])) return options;
    // The image's header says of what kind it is.
    const kind = /"encrypt":\{.*?"format":"(\w+)"/.exec(JSON.stringify(other["format-specific"]))?.[1];
    return { ...options, encrypt: { format: kind, ...options["encrypt"] } };
  } catch {
    return undefined;
  }
}

/** "nbd://HOST:PORT/EXPORT" and "nbd+unix:///EXPORT?socket=PATH". */
function nbdOptions(file: string): NodeOptions | undefined {
  const unix = /^nbd\+unix:\/\/\/([^?]*)\?socket=([^&]+)$/.exec(file);
  const inet = /^nbd:\/\/([^/:[\]]+):(\d+)(?:\/(.*))?$/.exec(file);
  const [name, server] =
    unix !== null
      ? [unix[1], { type: "unix", path: decodeURIComponent(unix[2] ?? "") }]
      : [inet?.[3], { type: "inet", host: inet?.[1], port: inet?.[2] }];
  if (unix === null && inet === null) return undefined;
  return { server, ...(name ? { export: decodeURIComponent(name) } : {}) };
}

function setFileName(options: Record<string, unknown>, { file }: Node, cwd: string): void {
  const given = text(options["filename"])?.replace(/^file:/, "");
  if (given !== undefined && resolve(cwd, given) === resolve(cwd, file)) return;
  if (file.startsWith("json:")) Object.assign(options, JSON.parse(file.slice("json:".length)));
  else options["filename"] = file;
}

/** Read-only, cache and detect-zeroes, which QEMU tells. Returns what children inherit. */
function setSwitches(options: Record<string, unknown>, node: Node, inherited: Inherited): Inherited {
  const autoReadOnly = switchOf(options["auto-read-only"]) ?? inherited.autoReadOnly;
  const readOnly = switchOf(options["read-only"]) ?? inherited.readOnly;
  if (readOnly !== node.readOnly && !(node.readOnly && autoReadOnly)) options["read-only"] = node.readOnly;
  const cache = isTree(options["cache"]) ? options["cache"] : {};
  const direct = switchOf(cache["direct"]) ?? inherited.direct;
  const noFlush = switchOf(cache["no-flush"]) ?? inherited.noFlush;
  if (direct !== node.cache.direct || noFlush !== node.cache.noFlush) {
    options["cache"] = { ...cache, direct: node.cache.direct, "no-flush": node.cache.noFlush };
  }
  const detect = node.other["detect_zeroes"] ?? "off";
  if (detect !== (options["detect-zeroes"] ?? "off")) options["detect-zeroes"] = detect;
  const { direct: isDirect, noFlush: isNoFlush } = node.cache;
  return { ...inherited, readOnly: node.readOnly, autoReadOnly, direct: isDirect, noFlush: isNoFlush };
}

function setChild(
  graph: Graph,
  options: Record<string, unknown>,
  child: Node["children"][number],
  parent: Inherited,
  untold: Untold,
): void {
  // An element of a list: what the command line says of it stays.
  if (child.name.includes(".")) {
    if (options[child.name.split(".")[0] ?? ""] === undefined && options["children"] === undefined)
      graph.unknown.add(child.node);
    return;
  }
  const ref = graph.refOf(child.node);
  if (ref !== undefined) {
    options[child.name] = ref;
    return;
  }
  const there = options[child.name];
  const given = isTree(there) ? there : graph.given.get(child.node);
  if (child.name !== "file" && given === undefined && !hasName(graph, child.node)) {
    // The image's header says it.
    if (there !== undefined) delete options[child.name];
    return;
  }
  const inherited = child.name === "backing" ? { ...parent, readOnly: true, autoReadOnly: false } : parent;
  options[child.name] = optionsOf(graph, child.node, given, inherited, untold);
}

/** Whether a node, or one below it, has a name. */
function hasName(graph: Graph, name: string): boolean {
  if (!name.startsWith("#") || graph.refOf(name) !== undefined) return true;
  return graph.nodes.get(name)?.children.some((child) => hasName(graph, child.node)) ?? false;
}
