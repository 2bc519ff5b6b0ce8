// A machine in a form in which two can be compared: lists become objects by what names their elements, and the names that
// QEMU generates, in order of creation, become names for what they stand for.

import type { Machine } from "./schema.ts";

type Tree = { readonly [key: string]: unknown };

/** The machine with lists as objects whose keys are "[NAME]". */
export function canonicalMachine(machine: Machine): Tree {
  const objects = objectNames(machine.qom);
  const nodes = nodeNames(machine.block, (name) => objectName(objects, name));
  const rename = (text: string) => nodes.get(text) ?? withoutNewName(withoutChance(objectName(objects, text)));
  const { block, memory, net } = machine;
  const named = {
    ...machine,
    memory: { ...memory, blocks: namedBlocks(memory.blocks) },
    block: { ...block, devices: block.devices.map((one) => ({ ...one, device: one.device || (one.qdev ?? "") })) },
    net: { ...net, forwards: net.forwards.map((one) => ({ id: `${one.netdev} ${one.protocol} ${one.host}`, ...one })) },
  };
  return tree(named, rename) as Tree;
}

/**
 * RAM blocks, those without a name (memory of a passed-through device, a backend that nothing uses) named by size and
 * number: QEMU lists them by size.
 */
export function namedBlocks(blocks: Machine["memory"]["blocks"]): Machine["memory"]["blocks"] {
  const counts = new Map<number, number>();
  return blocks.map((block) => {
    if (block.name !== "") return block;
    const count = counts.get(block.size) ?? 0;
    counts.set(block.size, count + 1);
    return { ...block, name: `unnamed[${count}] of ${block.size} bytes` };
  });
}

/** A socket of the new QEMU has the old one's name with ".cprN" behind it, until the old one has ended. */
function withoutNewName(text: string): string {
  return text.replace(/\.cpr\d+(?=$|[,\s])/g, "");
}

/** What has no name gets a number in order, and two digits by chance (QEMU 10.0 util/id.c). */
function withoutChance(text: string): string {
  return text.replace(/#(net|chr)(\d+)\d\d(?!\d)/g, "#$1$2");
}

function tree(value: unknown, rename: (text: string) => string): unknown {
  if (typeof value === "string") return rename(value);
  if (typeof value !== "object" || value === null) return value;
  if (!Array.isArray(value)) {
    return Object.fromEntries(Object.entries(value).map(([key, member]) => [key, tree(member, rename)]));
  }
  const elements = value.map((element) => tree(named(element), rename));
  const key = keys.find((name) => isKey(elements, name));
  if (key === undefined) return elements;
  return Object.fromEntries(elements.map((element) => [`[${(element as Tree)[key]}]`, element]));
}

/** A word of CPU features and a memory device have no name of their own. */
function named(element: unknown): unknown {
  if (typeof element !== "object" || element === null) return element;
  if ("type" in element && "data" in element && typeof element.data === "object") {
    // DIMMs and the like.
    const { id, memaddr } = (element.data ?? {}) as Tree;
    return id === undefined && memaddr === undefined ? element : { id: id ?? memaddr, ...element };
  }
  if (!("cpuid-register" in element)) return element;
  const { "cpuid-register": register, "cpuid-input-eax": eax, "cpuid-input-ecx": ecx, features } = element as Tree;
  return { name: `${register} of ${eax}.${ecx ?? 0}`, features };
}

/** What names an element of a list, the first that all of a list have. */
const keys = ["path", "id", "label", "role", "command", "name", "device", "qom-path", "fdset-id"] as const;

function isKey(elements: readonly unknown[], key: string): boolean {
  const names = elements.map((element) =>
    typeof element === "object" && element !== null && !Array.isArray(element) ? (element as Tree)[key] : undefined,
  );
  return names.length > 0 && names.every((name) => name !== undefined) && new Set(names).size === names.length;
}

/**
 * "/machine/unattached/device[7]" becomes "/machine/unattached/ICH9-LPC[0]": numbered by type, so that a device more in
 * one QEMU does not rename all that come after it.
 */
function objectNames(qom: Machine["qom"]): ReadonlyMap<string, string> {
  const names = new Map<string, string>();
  const counts = new Map<string, number>();
  const number = ({ path }: { readonly path: string }) => Number(/\[(\d+)\]$/.exec(path)?.[1]);
  const generated = qom.filter(({ path }) => /^\/machine\/(unattached|peripheral-anon)\/[^/]*\[\d+\]$/.test(path));
  for (const { path, type } of generated.toSorted((a, b) => number(a) - number(b))) {
    const folder = path.slice(0, path.lastIndexOf("/"));
    const count = counts.get(`${folder}/${type}`) ?? 0;
    counts.set(`${folder}/${type}`, count + 1);
    names.set(path, `${folder}/${type}[${count}]`);
  }
  return names;
}

function objectName(names: ReadonlyMap<string, string>, text: string): string {
  const object = /^\/machine\/(?:unattached|peripheral-anon)\/[^/]*\[\d+\]/.exec(text)?.[0];
  const name = object === undefined ? undefined : names.get(object);
  return object === undefined || name === undefined ? text : name + text.slice(object.length);
}

/** "#block123" becomes "#drive0", its file "#drive0.file"; below a node with a name of its own "#NAME.file". */
function nodeNames(
  { devices, nodes }: Machine["block"],
  rename: (text: string) => string,
): ReadonlyMap<string, string> {
  const names = new Map<string, string>();
  const byName = new Map(nodes.map((node) => [node.name, node]));
  const give = (node: string, wanted: string): void => {
    if (names.has(node)) return;
    // "cprkit-": the name that a node without one gets on a new command line.
    const name = /^(#|cprkit-)/.test(node) ? wanted : node;
    names.set(node, name);
    for (const child of byName.get(node)?.children ?? []) give(child.node, `#${name.replace(/^#/, "")}.${child.name}`);
  };
  for (const { device, qdev, node } of devices) {
    if (node !== undefined) give(node, `#${device === "" ? rename(qdev ?? "") : device}`);
  }
  // Nodes that are in no device: those that are nobody's child first.
  const children = new Set(nodes.flatMap((node) => node.children.map((child) => child.node)));
  const others = [...nodes.filter(({ name }) => !children.has(name)), ...nodes];
  for (const [index, { name }] of others.entries()) give(name, `#unattached[${index}]`);
  return names;
}
