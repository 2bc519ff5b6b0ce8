// Turns what an observer sees of a load into a tree of fields with their offsets; what was seen before an error stays.

import { collector } from "../../vmstate/trace.ts";
import type { Observer } from "../../vmstate/wire/reader.ts";
import type { FieldNode } from "../model.ts";

export interface TreeBuilder {
  readonly observer: Observer;
  /** The tree. Fields that were not finished end at `offset` and have no value. */
  finish(offset: number): FieldNode[];
}

/** A node while it is built: the same object becomes the finished one. */
type OpenNode = { -readonly [K in keyof FieldNode]: FieldNode[K] } & { fields: OpenNode[] | undefined };

/** Collects fields. Arrays of scalars become one node whose value is an array. */
export function treeBuilder(): TreeBuilder {
  const root: OpenNode[] = [];
  const { observer, open } = collector<OpenNode>((parent, name, type, offset) => {
    const node: OpenNode = { name, type, offset, size: 0, value: undefined, fields: undefined };
    if (parent === undefined) root.push(node);
    else if (parent.fields === undefined) parent.fields = [node];
    else parent.fields.push(node);
    return node;
  }, close);
  return {
    observer,
    finish: (offset) => {
      for (const node of open) node.size = offset - node.offset;
      return root;
    },
  };
}

function close(node: OpenNode, end: number, value: unknown): void {
  node.size = end - node.offset;
  if (node.fields === undefined) {
    if (node.type === "nullptr" || node.type === "ptr-marker") node.value = null;
    else if (isBody(value)) node.fields = [];
    else node.value = value;
    return;
  }
  node.fields = withoutMarkers(node.fields);
  if (node.fields.every(isScalarElement)) {
    node.value = node.fields.map((field) => field.value);
    node.fields = undefined;
  }
}

// A marker before a pointer that is set bears the index of what it announces, and says nothing more.
function withoutMarkers(children: OpenNode[]): OpenNode[] {
  if (!children.some((child) => child.type === "ptr-marker")) return children;
  return children.filter((child, at) => child.type !== "ptr-marker" || children[at + 1]?.name !== child.name);
}

function isScalarElement(field: FieldNode): boolean {
  return typeof field.name === "number" && field.fields === undefined;
}

function isBody(value: unknown): boolean {
  return typeof value === "object" && value !== null && Object.getPrototypeOf(value) === Object.prototype;
}

/** The tree without what comes after `end`; a field across it keeps the elements before it, or no value. */
export function clip(fields: readonly FieldNode[], end: number): readonly FieldNode[] {
  return fields
    .filter((field) => field.offset < end)
    .map((field) => {
      if (field.offset + field.size <= end) return field;
      const size = end - field.offset;
      if (field.fields !== undefined) return { ...field, size, fields: clip(field.fields, end) };
      const { value } = field;
      if (!Array.isArray(value) || value.length === 0) return { ...field, size, value: undefined };
      return { ...field, size, value: value.slice(0, Math.floor(size / (field.size / value.length))) };
    });
}

/** Names down to the field that has the byte at `offset`. */
export function pathTo(fields: readonly FieldNode[], offset: number): (string | number)[] {
  const field = fields.find((one) => one.offset + one.size > offset);
  if (field === undefined) return [];
  const { name, value, size } = field;
  if (field.fields !== undefined) return [name, ...pathTo(field.fields, offset)];
  if (!Array.isArray(value) || value.length === 0) return [name];
  return [name, Math.max(0, Math.floor((offset - field.offset) / (size / value.length)))];
}
