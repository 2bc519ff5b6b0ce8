// The bytes of a PCI configuration out of a decoded field.

import type { FieldNode } from "../model.ts";

/** Put together from its registers: a field with fields inside has no value of its own. Undefined if it was not read. */
export function configBytes({ size, offset, fields, value }: FieldNode): Uint8Array | undefined {
  if (value instanceof Uint8Array) return value;
  if (fields === undefined) return undefined;
  const bytes = new Uint8Array(size);
  const fill = (nodes: readonly FieldNode[]) => {
    for (const node of nodes) {
      const at = node.offset - offset;
      if (node.fields !== undefined) fill(node.fields);
      else if (node.value instanceof Uint8Array) bytes.set(node.value, at);
      else put(bytes, at, node.size, node.value);
    }
  };
  fill(fields);
  return bytes;
}

function put(bytes: Uint8Array, at: number, size: number, value: unknown): void {
  let rest = typeof value === "bigint" ? value : BigInt(Number(value ?? 0));
  for (let i = 0; i < size; i++, rest >>= 8n) bytes[at + i] = Number(rest & 0xffn);
}
