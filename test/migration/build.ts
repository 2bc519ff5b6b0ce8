// Builds migration streams by hand, byte by byte as the format says.
import { textBytes, Writer } from "../../src/vmstate/index.ts";

export type Part = number | string | bigint | Uint8Array | readonly Part[];

/** One byte for a number, 8 for a bigint, UTF-8 for a text. */
export function bytes(...parts: readonly Part[]): Uint8Array {
  const writer = new Writer();
  const add = (part: Part): void => {
    if (typeof part === "number") writer.uint8(part);
    else if (typeof part === "bigint") writer.uint64(part);
    else if (typeof part === "string") writer.text(part);
    else if (part instanceof Uint8Array) writer.buffer(part);
    else part.forEach(add);
  };
  parts.forEach(add);
  return writer.finish().bytes.slice();
}

export const be16 = (value: number): Uint8Array => bytes(value >> 8, value & 0xff);
export const be32 = (value: number): Uint8Array =>
  bytes(value >>> 24, (value >> 16) & 0xff, (value >> 8) & 0xff, value & 0xff);
export const counted = (text: string): Uint8Array => bytes(textBytes(text).length, text);
export const repeat = (byte: number, count: number): Uint8Array => new Uint8Array(count).fill(byte);

export const header = bytes("QEVM", be32(3));
export const footer = (id: number): Uint8Array => bytes(0x7e, be32(id));

export function configuration(machine: string, ...subsections: readonly Part[]): Uint8Array {
  return bytes(7, be32(machine.length), machine, ...subsections);
}

export function capabilities(...names: readonly string[]): Uint8Array {
  return bytes(5, counted("configuration/capabilities"), be32(1), be32(names.length), names.map(counted));
}

/** START (type 1) or FULL (4), with its footer. */
export function entry(
  type: 1 | 4,
  id: number,
  name: string,
  body: Part,
  options: { instance?: number; version?: number; footer?: boolean } = {},
): Uint8Array {
  const { instance = 0, version = 1, footer: withFooter = true } = options;
  return bytes(type, be32(id), counted(name), be32(instance), be32(version), body, withFooter ? footer(id) : []);
}

/** PART (2) or END (3), with its footer. */
export function further(type: 2 | 3, id: number, body: Part, options: { footer?: boolean } = {}): Uint8Array {
  return bytes(type, be32(id), body, (options.footer ?? true) ? footer(id) : []);
}

export function command(number: number, payload: Part = []): Uint8Array {
  const body = bytes(payload);
  return bytes(8, be16(number), be16(body.length), body);
}

export const eos = 0x10n;
/** A block list whose blocks have nothing but a name and a length. */
export function blockList(
  blocks: readonly (readonly [name: string, length: number, ...more: readonly Part[]])[],
): Uint8Array {
  const total = blocks.reduce((sum, [, length]) => sum + length, 0);
  return bytes(
    BigInt(total) | 4n,
    blocks.map(([name, length, ...more]) => [counted(name), BigInt(length), more]),
  );
}

/** The end byte, and the JSON if there is one. */
export function end(json?: unknown): Uint8Array {
  if (json === undefined) return bytes(0);
  const text = typeof json === "string" ? json : JSON.stringify(json);
  return bytes(0, 6, be32(textBytes(text).length), text);
}

export function device(name: string, fields: readonly object[], more: object = {}): object {
  return { name, instance_id: 0, vmsd_name: name, version: 1, fields, ...more };
}

export function vmdesc(...devices: readonly object[]): object {
  return { page_size: 4096, devices };
}
