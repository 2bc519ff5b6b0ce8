// Field kinds of QEMU's devices that the JSON description names, but does not describe.

import type { AnyField } from "../../vmstate/types.ts";
import { msixState, msixVectors, pciConfig, pciIrqState } from "../pci/fields.ts";
import { virtioField } from "../virtio/field.ts";

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
    default:
      return undefined;
  }
}
