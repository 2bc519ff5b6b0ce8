// Nodes that hang nowhere: QEMU 10.0 passes some of them over when it lets go of its images (block.c, bdrv_next), keeps
// their locks, and the new QEMU can't start the guest. So they are let go of one by one, just before the stop.

import type { CarryInput, CarryPlan } from "../subject.ts";
import { isTree, type NodeOptions } from "./spec.ts";
import { blockdevOptions, type State } from "./state.ts";

/**
 * The first of all subjects: of a guest that does not run, the new QEMU would take its images only when it goes on, and had
 * neither the bitmaps that are stored in them nor their locks.
 */
export function takeImages({ machine }: CarryInput): Pick<CarryPlan, "after"> {
  const { status, block } = machine;
  const isActive = block.nodes.some(({ other }) => other["active"] === true);
  if (status.running || !isActive) return { after: [] };
  return { after: [{ execute: "blockdev-set-active", arguments: { active: true } }] };
}

/** One that shares a node with a device can't be made inactive alone: it is removed, and added again if need be. */
export function letIdleGo(state: State): Pick<CarryPlan, "release" | "after"> {
  const { machine, mode } = state.input;
  const { devices, nodes } = machine.block;
  // With cpr-exec all locks end with the old program. A QEMU without the field has no command to make a node inactive.
  if (mode === "cpr-exec" || nodes.every(({ other }) => other["active"] === undefined))
    return { release: [], after: [] };
  const used = new Set(devices.flatMap(({ node }) => node ?? []));
  for (const name of used) for (const child of childrenOf(state, name)) used.add(child);
  const idle = new Set(nodes.map(({ name }) => name).filter((name) => !used.has(name)));
  const steps: CarryPlan["release"][number][] = [];
  for (let left = idle; left.size > 0; ) {
    const children = new Set([...left].flatMap((name) => childrenOf(state, name)));
    const roots = [...left].filter((name) => !children.has(name));
    left = new Set();
    for (const root of roots) {
      if (isOwnOnly(state, root, used)) steps.push(inactive(root));
      else if (!root.startsWith("#")) {
        steps.push(removed(state, root));
        for (const child of childrenOf(state, root)) if (idle.has(child) && !child.startsWith("#")) left.add(child);
      }
    }
  }
  // As a new QEMU, 10.0 passes them over once more.
  const named = [...idle].filter((name) => !name.startsWith("#"));
  return { release: steps, after: named.map((name) => inactive(name).undo) };
}

function childrenOf({ graph }: State, name: string): string[] {
  return graph.nodes.get(name)?.children.map(({ node }) => node) ?? [];
}

function isOwnOnly(state: State, name: string, used: ReadonlySet<string>): boolean {
  return !used.has(name) && childrenOf(state, name).every((child) => isOwnOnly(state, child, used));
}

function inactive(node: string): CarryPlan["release"][number] {
  const set = (active: boolean) => ({ execute: "blockdev-set-active", arguments: { "node-name": node, active } });
  return { do: set(false), undo: set(true) };
}

function removed(state: State, node: string): CarryPlan["release"][number] {
  return {
    do: { execute: "blockdev-del", arguments: { "node-name": node } },
    undo: { execute: "blockdev-add", arguments: typed(blockdevOptions(state, node)) },
  };
}

/** Switches and numbers of key=value as JSON has them. */
function typed(options: NodeOptions): NodeOptions {
  return Object.fromEntries(
    Object.entries(options).map(([key, value]) => {
      if (isTree(value)) return [key, typed(value)];
      if (typeof value !== "string" || enums.has(key)) return [key, value];
      if (value === "on" || value === "off") return [key, value === "on"];
      return [key, numbers.has(key) ? Number(value) : value];
    }),
  );
}

/** Have "on" and "off" among their words. */
const enums = new Set(["detect-zeroes", "discard", "locking", "filename", "node-name", "file", "backing"]);

const numbers = new Set(["offset", "size", "latency-ns", "drop-cache"]);
