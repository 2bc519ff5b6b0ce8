// Options of a block node as QEMU takes them: a tree, written as JSON or with dots ("file.filename=…").

import type { KeyValues } from "../../command-line/parse.ts";

/** Of one node; a child is a tree of its own, or the name of a node. Of key=value all leaves are texts. */
export interface NodeOptions {
  readonly [key: string]: unknown;
}

export function isTree(value: unknown): value is NodeOptions {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** "file.filename=x" as { file: { filename: "x" } }. */
export function fromKeyValues(parts: KeyValues): NodeOptions {
  return nested(parts.map(([key, value]) => [key, value ?? "on"]));
}

/** The same, of values of any kind. */
export function nested(parts: readonly (readonly [key: string, value: unknown])[]): NodeOptions {
  const root: Record<string, unknown> = {};
  for (const [key, value] of parts) {
    const names = key.split(".");
    const last = names.pop() ?? "";
    let at = root;
    for (const name of names) {
      // "file=NODE,file.driver=…" is refused by QEMU: whatever becomes of it here does not matter.
      if (!isTree(at[name])) at[name] = {};
      at = at[name] as Record<string, unknown>;
    }
    at[last] = value;
  }
  return root;
}

/** The other way; `null` (no backing file) is written as "", which QEMU takes for it. */
export function toKeyValues(options: NodeOptions): KeyValues {
  return Object.entries(options).flatMap(([key, value]) => flat(key, value));
}

function flat(key: string, value: unknown): (readonly [string, string])[] {
  if (typeof value === "object" && value !== null) {
    return Object.entries(value).flatMap(([name, member]) => flat(`${key}.${name}`, member));
  }
  return value === undefined ? [] : [[key, textOf(value)]];
}

function textOf(value: unknown): string {
  if (typeof value === "boolean") return value ? "on" : "off";
  return value === null ? "" : String(value);
}

/** A switch, in either form; undefined when it is not there. */
export function switchOf(value: unknown): boolean | undefined {
  if (value === undefined) return undefined;
  return value === true || ["on", "yes", "true", "y"].includes(String(value));
}

export function text(value: unknown): string | undefined {
  return typeof value === "string" ? value : undefined;
}
