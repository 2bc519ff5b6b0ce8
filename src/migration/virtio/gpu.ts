// What a virtio GPU sends after its virtio part ("virtio-gpu"): resources with their pixels, then its outputs
// (QEMU 10.0 hw/display/virtio-gpu.c, virtio_gpu_save).

import { located } from "../../vmstate/engine.ts";
import { buffer } from "../../vmstate/fields/buffers.ts";
import { uint32Equal } from "../../vmstate/fields/checked.ts";
import { int32, uint32 } from "../../vmstate/fields/integers.ts";
import { struct } from "../../vmstate/fields/struct.ts";
import { type AnyField, type Field, misfit } from "../../vmstate/types.ts";
import type { Reader } from "../../vmstate/wire/reader.ts";
import { plain } from "./kinds.ts";

type Plain = Record<string, unknown>;

/** Bytes of an output: QEMU before 8.0 sends less. */
const outputSizes = [64, 40];

/**
 * The field of `size` bytes. Its value is an object with "resources", "enable", "max_outputs" and "outputs", or bytes if the
 * form does not fit.
 */
export function gpuField(size: number): AnyField {
  const field: Field<unknown> = {
    type: "virtio-gpu",
    size,
    load: (reader) => {
      const start = reader.pos;
      const outer = reader.observer;
      reader.observer = undefined;
      const whole = tryLoad(reader, start + size);
      reader.observer = outer;
      reader.pos = start;
      return whole ? loadAll(reader, start + size) : reader.buffer(size);
    },
    save: (writer, value) => {
      if (value instanceof Uint8Array) return writer.buffer(value);
      if (!isGpuState(value)) throw misfit("bytes, or an object with resources and outputs", value);
      for (const one of value.resources) {
        head.save(writer, one, {});
        writer.buffer(one["addresses"] as Uint8Array);
        writer.buffer(one["pixels"] as Uint8Array);
      }
      writer.uint32(0);
      int32().save(writer, value.enable, {});
      writer.uint32(value.max_outputs);
      for (const one of value.outputs) output(Object.keys(one).length * 4).save(writer, one, {});
    },
  };
  return field as AnyField;
}

interface GpuState {
  readonly resources: readonly Plain[];
  readonly enable: number;
  readonly max_outputs: number;
  readonly outputs: readonly Plain[];
}

function isGpuState(value: unknown): value is GpuState {
  return typeof value === "object" && value !== null && "outputs" in value;
}

const head = struct(
  plain("resource", 0, {
    resource_id: uint32(),
    width: uint32(),
    height: uint32(),
    format: uint32(),
    iov_cnt: uint32(),
  }),
);

function output(size: number): Field<Plain> {
  const place = { resource_id: uint32(), width: uint32(), height: uint32(), x: int32(), y: int32() };
  const cursor = { cursor_id: uint32(), hot_x: uint32(), hot_y: uint32(), cursor_x: uint32(), cursor_y: uint32() };
  const frame = {
    "fb.format": uint32(),
    "fb.bytes_pp": uint32(),
    "fb.width": uint32(),
    "fb.height": uint32(),
    "fb.stride": uint32(),
    "fb.offset": uint32(),
  };
  return struct(plain("output", 0, { ...place, ...cursor, ...(size === 64 ? frame : {}) }));
}

function tryLoad(reader: Reader, end: number): boolean {
  try {
    loadAll(reader, end);
    return reader.pos === end;
  } catch {
    return false;
  }
}

function loadAll(reader: Reader, end: number): GpuState {
  const resources = named(reader, "resources", "list", () => {
    const all: Plain[] = [];
    while (reader.peek() !== 0 || reader.peek(1) !== 0 || reader.peek(2) !== 0 || reader.peek(3) !== 0)
      all.push(element(reader, all.length, () => resource(reader)));
    reader.uint32();
    return all;
  });
  const enable = named(reader, "enable", "int32", () => reader.int32());
  const maxOutputs = named(reader, "max_outputs", uint32Equal().type, () => reader.uint32());
  const size = outputSizes.find((one) => maxOutputs * one === end - reader.pos);
  if (size === undefined) throw reader.error("ERR_COUNT", `${maxOutputs} outputs do not fit`);
  const outputs = named(reader, "outputs", "struct", () => {
    const all: Plain[] = [];
    for (let i = 0; i < maxOutputs; i++) all.push(element(reader, i, () => output(size).load(reader, undefined, {})));
    return all;
  });
  return { resources, enable, max_outputs: maxOutputs, outputs };
}

function resource(reader: Reader): Plain {
  const facts = head.load(reader, undefined, {});
  const addresses = 12 * Number(facts["iov_cnt"]);
  // All of virtio's formats have four bytes for a pixel.
  const pixels = Number(facts["width"]) * Number(facts["height"]) * 4;
  return {
    ...facts,
    addresses: named(reader, "addresses", "buffer", () => buffer(addresses).load(reader, undefined, {})),
    pixels: named(reader, "pixels", "buffer", () => buffer(pixels).load(reader, undefined, {})),
  };
}

function element<T>(reader: Reader, at: number, load: () => T): T {
  try {
    return named(reader, at, "struct", load);
  } catch (error) {
    throw located(error, at);
  }
}

function named<T>(reader: Reader, name: string | number, type: string, load: () => T): T {
  reader.observer?.enter(name, type, reader.offset);
  const value = load();
  reader.observer?.leave(reader.offset, value);
  return value;
}
