// The field "virtio" of a stream: decoded where its form is found, else bytes. Nothing in the stream says which form it has,
// so each that is possible is tried: only one uses up all bytes and gives the same bytes again.

import { loadBody, saveBody } from "../../vmstate/engine.ts";
import { isCprkitError } from "../../vmstate/error.ts";
import { type AnyField, type Field, misfit, type NamedField } from "../../vmstate/types.ts";
import { Reader } from "../../vmstate/wire/reader.ts";
import { Writer } from "../../vmstate/wire/writer.ts";
import { msixSize } from "../pci/fields.ts";
import { pciCapabilities } from "../pci/registers.ts";
import { type Transport, virtioBody } from "./body.ts";
import { ccwDevice } from "./ccw.ts";
import { virtioType } from "./features.ts";
import type { PlainDescription } from "./kinds.ts";
import { ownForms } from "./own.ts";

/** What a virtio field that was decoded holds: its form, which is not sent, and the fields of `virtioBody`. */
interface VirtioState {
  readonly form: VirtioForm;
  readonly [field: string]: unknown;
}

interface VirtioForm {
  readonly device: string;
  readonly transport: Transport;
  /** Which of the device's own forms; `undefined` for none, a number of bytes for one that stays as it is. */
  readonly own: number | { readonly bytes: number } | undefined;
  /** Bytes of the whole field. */
  readonly size: number;
}

/**
 * The field of `size` bytes in a section of this device: "virtio-net" and the like. Its value is an object with "form" and the
 * fields, or bytes if no form fits.
 */
export function virtioField(device: string, size: number): AnyField {
  const field: Field<unknown> = {
    type: "virtio",
    size,
    load: (reader) => {
      const offset = reader.offset;
      const bytes = reader.buffer(size);
      const form = findForm(device, bytes);
      if (form === undefined) return bytes;
      const inner = new Reader({ bytes, baseOffset: offset });
      inner.observer = reader.observer;
      const state = loadBody(inner, bodyOf(form), 1);
      return { form, ...state } satisfies VirtioState;
    },
    save: (writer, value) => {
      if (value instanceof Uint8Array) writer.buffer(value);
      else if (isVirtioState(value)) saveBody(writer, bodyOf(value.form), value as Record<string, unknown>);
      else throw misfit("bytes, or an object with form and fields", value);
    },
  };
  return field as AnyField;
}

function isVirtioState(value: unknown): value is VirtioState {
  return typeof value === "object" && value !== null && "form" in value;
}

/** Bodies that were made already: a form is used several times. */
const bodies = new WeakMap<VirtioForm, PlainDescription>();

function bodyOf(form: VirtioForm): PlainDescription {
  const known = bodies.get(form);
  if (known !== undefined) return known;
  const { device, transport, own, size } = form;
  const body = virtioBody(device, transport, ownFields(device, own, size));
  bodies.set(form, body);
  return body;
}

function ownFields(device: string, own: VirtioForm["own"], size: number): readonly NamedField[] {
  if (own === undefined) return [];
  if (typeof own === "number") return ownForms(virtioType(device), size)[own]?.() ?? [];
  return [{ name: "device", field: bytesField(own.bytes) }];
}

function bytesField(size: number): AnyField {
  const field: Field<Uint8Array> = {
    type: "buffer",
    size,
    load: (reader) => reader.buffer(size),
    save: (writer, value) => writer.buffer(value),
  };
  return field as AnyField;
}

function findForm(device: string, bytes: Uint8Array): VirtioForm | undefined {
  const size = bytes.length;
  const own = ownForms(virtioType(device), size);
  for (const transport of transports(bytes)) {
    const base = { device, transport, size };
    const start = endOfQueues(transport, bytes);
    if (start === undefined) continue;
    for (const form of forms(base, own.length, start, bytes)) if (fits(form, bytes)) return form;
  }
  return undefined;
}

function* forms(base: Omit<VirtioForm, "own">, known: number, start: number, bytes: Uint8Array): Generator<VirtioForm> {
  for (let own = 0; own < known; own++) yield { ...base, own };
  yield { ...base, own: undefined };
  for (const end of subsectionStarts(bytes, start)) yield { ...base, own: { bytes: end - start } };
  // Only PCI's configuration shows by itself that the bytes before are what they seem.
  if (base.transport.kind === "pci") yield { ...base, own: { bytes: bytes.length - start } };
}

function* transports(bytes: Uint8Array): Generator<Transport> {
  for (const configSize of [256, 4096]) {
    const config = bytes.subarray(4, 4 + configSize);
    // Version 2 of the description "PCIDevice", and the vendor of all virtio devices.
    const isPci = bytes[3] === 2 && config[0] === 0xf4 && config[1] === 0x1a;
    if (!isPci || config.length < configSize) continue;
    const vectors = msixVectorsOf(config);
    if (4 + configSize + 16 + (vectors > 0 ? msixSize(vectors) : 0) <= bytes.length)
      yield { kind: "pci", configSize, vectors };
  }
  yield { kind: "mmio" };
  const reader = new Reader({ bytes });
  try {
    loadBody(reader, ccwDevice, 1);
  } catch (error) {
    if (isCprkitError(error)) return;
    throw error;
  }
  yield { kind: "ccw", size: reader.pos };
}

function msixVectorsOf(config: Uint8Array): number {
  const msix = pciCapabilities(config).find(({ name }) => name === "msix");
  if (msix === undefined) return 0;
  return (((config[msix.offset + 3] ?? 0) & 7) << 8) + (config[msix.offset + 2] ?? 0) + 1;
}

/**
 * Where the device's own part begins; undefined if the bytes before it can't be of this transport: a queue has at most 32,768
 * places, a device at most 1,024 queues, and the status only known bits.
 */
function endOfQueues(transport: Transport, bytes: Uint8Array): number | undefined {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  let at = transportSize(transport);
  if (at + 16 > bytes.length) return undefined;
  if ((view.getUint8(at) & 0x30) !== 0 || view.getUint16(at + 2) >= 1024) return undefined;
  const config = view.getUint32(at + 8);
  at += 12 + config;
  if (at + 4 > bytes.length) return undefined;
  const queues = view.getUint32(at);
  at += 4;
  const vector = transport.kind === "ccw" || (transport.kind === "pci" && transport.vectors > 0) ? 2 : 0;
  const each = 14 + (transport.kind === "mmio" ? 4 : 0) + vector;
  // Every device has a queue.
  if (queues === 0 || queues > 1024 || at + queues * each > bytes.length) return undefined;
  for (const end = at + queues * each; at < end; at += each) {
    const places = view.getUint32(at);
    if (places === 0 || places > 32768) return undefined;
  }
  return at;
}

function transportSize(transport: Transport): number {
  if (transport.kind === "mmio") return 12;
  if (transport.kind === "ccw") return transport.size;
  const { configSize, vectors } = transport;
  return 4 + configSize + 16 + (vectors > 0 ? msixSize(vectors) + 2 : 0);
}

function fits(form: VirtioForm, bytes: Uint8Array): boolean {
  const body = bodyOf(form);
  const reader = new Reader({ bytes });
  try {
    const state = loadBody(reader, body, 1);
    if (reader.remaining > 0) return false;
    const writer = new Writer("passed", bytes.length);
    saveBody(writer, body, state);
    const again = writer.finish().bytes;
    return again.length === bytes.length && again.every((byte, at) => byte === bytes[at]);
  } catch (error) {
    if (isCprkitError(error)) return false;
    throw error;
  }
}

const mark = [..."virtio/"].map((letter) => letter.charCodeAt(0));

/** Where the subsections may begin from `from` on: at 05, a length and "virtio/". */
function* subsectionStarts(bytes: Uint8Array, from: number): Generator<number> {
  let tries = 0;
  for (let at = bytes.indexOf(5, from); at >= 0 && tries < 16; at = bytes.indexOf(5, at + 1)) {
    if (!mark.every((letter, i) => bytes[at + 2 + i] === letter)) continue;
    tries += 1;
    yield at;
  }
}
