// What a stream has of a PCI device beside its own fields: configuration, interrupt lines, MSI-X table (QEMU 10.0
// hw/pci/pci.c, msix.c). The state keeps bytes as bytes; an observer sees them by register.

import { opaque } from "../../vmstate/fields/buffers.ts";
import { type Field, misfit } from "../../vmstate/types.ts";
import type { Observer, Reader } from "../../vmstate/wire/reader.ts";
import { isData, littleEndian, type PciRegister, pciRegisters } from "./registers.ts";

/** The configuration of `size` bytes: 256, or 4,096 with PCI Express ("pci config"). Its value is bytes. */
export function pciConfig(size: number): Field<Uint8Array> {
  const bytes = opaque("pci config", size);
  return {
    ...bytes,
    load: (reader, current, siblings) => {
      const start = reader.offset;
      const value = bytes.load(reader, current, siblings);
      if (reader.observer !== undefined) showConfig(reader.observer, value, start);
      return value;
    },
  };
}

/** Levels of the four interrupt lines ("pci irq state"). Its value is four numbers. */
export function pciIrqState(): Field<number[]> {
  return {
    type: "pci irq state",
    size: 16,
    load: (reader) => {
      const levels = [];
      for (let i = 0; i < 4; i++) {
        reader.observer?.enter(i, "uint32", reader.offset);
        levels.push(reader.uint32());
        reader.observer?.leave(reader.offset, levels[i]);
      }
      return levels;
    },
    save: (writer, value) => {
      if (!Array.isArray(value) || value.length !== 4) throw misfit("an array of 4", value);
      for (const level of value) writer.uint32(level);
    },
  };
}

/** Vectors of an MSI-X table and its pending bits, by the size of both together in bytes; undefined for no such size. */
export function msixVectors(size: number): number | undefined {
  for (let vectors = Math.floor(size / 17); vectors * 16 + Math.ceil(vectors / 8) <= size; vectors++) {
    if (vectors > 0 && vectors * 16 + Math.ceil(vectors / 8) === size) return vectors;
  }
  return undefined;
}

/** Bytes of the table and the pending bits of `vectors` vectors. */
export function msixSize(vectors: number): number {
  return vectors * 16 + Math.ceil(vectors / 8);
}

/** MSI-X table and pending bits ("msix state"). Its value is bytes. */
export function msixState(vectors: number): Field<Uint8Array> {
  const bytes = opaque("msix state", msixSize(vectors));
  return {
    ...bytes,
    load: (reader, current, siblings) => {
      const start = reader.offset;
      const value = bytes.load(reader, current, siblings);
      if (reader.observer !== undefined) showVectors(reader, value, start, vectors);
      return value;
    },
  };
}

/** The registers of a bridge's hot plug controller ("shpc"), of `size` bytes. Its value is bytes. */
export function shpcState(size: number): Field<Uint8Array> {
  const bytes = opaque("shpc", size);
  return {
    ...bytes,
    load: (reader, current, siblings) => {
      const start = reader.offset;
      const value = bytes.load(reader, current, siblings);
      const { observer } = reader;
      if (observer === undefined) return value;
      for (const [name, at, length] of [...shpcRegisters, ...slotRegisters(size)]) {
        observer.enter(name, "register", start + at);
        observer.leave(start + at + length, Number(littleEndian(value, at, length)));
      }
      return value;
    },
  };
}

/** Bytes before the slots' registers, of which each has four. */
export const shpcHead = 0x24;

// QEMU 8.0 hw/pci/shpc.c.
const shpcRegisters = [
  ["base_offset", 0x00, 4],
  ["slots_33", 0x04, 4],
  ["slots_66", 0x08, 4],
  ["slots", 0x0c, 1],
  ["first_device", 0x0d, 1],
  ["physical_slot", 0x0e, 2],
  ["secondary_bus", 0x10, 2],
  ["msi_control", 0x12, 1],
  ["programming_interface", 0x13, 1],
  ["command", 0x14, 1],
  ["target", 0x15, 1],
  ["status", 0x16, 2],
  ["interrupt_locator", 0x18, 4],
  ["error_locator", 0x1c, 4],
  ["error_interrupt", 0x20, 4],
] as const;

function slotRegisters(size: number): (readonly [name: string, at: number, length: number])[] {
  const slots = (size - shpcHead) / 4;
  return Array.from({ length: slots }, (_, slot) => [`slot_${slot}`, shpcHead + 4 * slot, 4] as const);
}

function showConfig(observer: Observer, config: Uint8Array, start: number): void {
  let open: PciRegister["capability"];
  const close = (end: number) => {
    if (open !== undefined) observer.leave(start + end, config.subarray(open.offset, end));
    open = undefined;
  };
  for (const register of pciRegisters(config)) {
    const { name, offset, size, capability } = register;
    if (capability?.offset !== open?.offset) {
      close(offset);
      if (capability !== undefined) observer.enter(capability.name, "capability", start + offset);
      open = capability;
    }
    const isBytes = isData(register);
    const label = isBytes && capability === undefined ? `data_${offset.toString(16).padStart(2, "0")}` : name;
    observer.enter(label, isBytes ? "buffer" : "register", start + offset);
    observer.leave(
      start + offset + size,
      isBytes ? config.subarray(offset, offset + size) : registerValue(config, register),
    );
  }
  close(config.length);
}

/** A register's value: a number up to 32 bits, a bigint up to 64, else bytes. */
function registerValue(config: Uint8Array, { offset, size }: PciRegister): number | bigint | Uint8Array {
  if (size > 8) return config.subarray(offset, offset + size);
  const value = littleEndian(config, offset, size);
  return size > 4 ? value : Number(value);
}

const entry = [
  ["address", 0, 8],
  ["data", 8, 4],
  ["control", 12, 4],
] as const;

function showVectors({ observer }: Reader, table: Uint8Array, start: number, vectors: number): void {
  if (observer === undefined) return;
  observer.enter("table", "array", start);
  for (let i = 0; i < vectors; i++) {
    observer.enter(i, "vector", start + i * 16);
    for (const [name, at, size] of entry) {
      const offset = i * 16 + at;
      observer.enter(name, "register", start + offset);
      const value = littleEndian(table, offset, size);
      observer.leave(start + offset + size, size > 4 ? value : Number(value));
    }
    observer.leave(start + (i + 1) * 16, table.subarray(i * 16, (i + 1) * 16));
  }
  observer.leave(start + vectors * 16, table.subarray(0, vectors * 16));
  observer.enter("pending", "buffer", start + vectors * 16);
  observer.leave(start + table.length, table.subarray(vectors * 16));
}
