// Field kinds of QEMU's devices that the JSON description names, but does not describe.

import { uint8, uint16, uint32, uint64 } from "../../vmstate/fields/integers.ts";
import { type AnyField, type Field, misfit } from "../../vmstate/types.ts";
import { msixState, msixVectors, pciConfig, pciIrqState, shpcHead, shpcState } from "../pci/fields.ts";
import { virtioField } from "../virtio/field.ts";
import { gpuField } from "../virtio/gpu.ts";

/**
 * The kind of a field of this type and size in bytes, in a description of this name ("virtio-net"); undefined for one that
 * stays bytes.
 */
export function deviceKind(type: string, size: number, within: string): AnyField | undefined {
  switch (type) {
    case "pci config":
      return size === 256 || size === 4096 ? (pciConfig(size) as AnyField) : undefined;
    case "pci irq state":
      return size === 16 ? (pciIrqState() as AnyField) : undefined;
    case "msix state": {
      const vectors = msixVectors(size);
      return vectors === undefined ? undefined : (msixState(vectors) as AnyField);
    }
    case "virtio":
      return virtioField(within, size);
    case "shpc":
      return size >= shpcHead && size <= 0x400 && size % 4 === 0 ? (shpcState(size) as AnyField) : undefined;
    case "scsi-requests":
      return size === 1 ? noRequests() : undefined;
    case "virtio-gpu":
      return gpuField(size);
    default:
      return registers.has(type) ? numbers.get(size)?.(type) : undefined;
  }
}

/** The end of a list without a request. */
function noRequests(): AnyField {
  const field: Field<readonly unknown[]> = {
    type: "scsi-requests",
    size: 1,
    load: (reader) => {
      if (reader.flag("one more request")) throw reader.error("ERR_COUNT", "a request does not fit into one byte", 1);
      return [];
    },
    save: (writer, value) => {
      if (!Array.isArray(value) || value.length > 0) throw misfit("an empty array", value);
      writer.uint8(0);
    },
  };
  return field as AnyField;
}

/** Registers of other CPUs than x86, each a number (QEMU 8.0 target/ARCH/machine.c). */
const registers: ReadonlySet<string> = new Set([
  ...["fpcr", "fpscr", "cpsr", "powered_off", "sreg", "rampD", "rampX", "rampY", "rampZ", "eind"],
  ...["psw", "msr", "sr", "psr", "cpu/altivec/vscr"],
]);

const numbers: ReadonlyMap<number, (type: string) => AnyField> = new Map([
  [1, (type: string) => ({ ...uint8(), type }) as AnyField],
  [2, (type: string) => ({ ...uint16(), type }) as AnyField],
  [4, (type: string) => ({ ...uint32(), type }) as AnyField],
  [8, (type: string) => ({ ...uint64(), type }) as AnyField],
]);
