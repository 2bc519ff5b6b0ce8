// The macro of QEMU's that describes a field of a type (QEMU 10.0 include/migration/vmstate.h).

import type { FieldNode } from "../../migration/index.ts";

const macros: ReadonlyMap<string, string> = new Map([
  ["bool", "VMSTATE_BOOL"],
  ["int8", "VMSTATE_INT8"],
  ["int16", "VMSTATE_INT16"],
  ["int32", "VMSTATE_INT32"],
  ["int64", "VMSTATE_INT64"],
  ["uint8", "VMSTATE_UINT8"],
  ["uint16", "VMSTATE_UINT16"],
  ["uint32", "VMSTATE_UINT32"],
  ["uint64", "VMSTATE_UINT64"],
  ["int32 equal", "VMSTATE_INT32_EQUAL"],
  ["uint8 equal", "VMSTATE_UINT8_EQUAL"],
  ["uint16 equal", "VMSTATE_UINT16_EQUAL"],
  ["uint32 equal", "VMSTATE_UINT32_EQUAL"],
  ["int64 equal", "VMSTATE_UINT64_EQUAL"],
  ["int32 le", "VMSTATE_INT32_POSITIVE_LE"],
  ["CPU_Double_U", "VMSTATE_CPUDOUBLE_ARRAY"],
  ["timer", "VMSTATE_TIMER_PTR"],
  ["bitmap", "VMSTATE_BITMAP"],
  ["fd", "VMSTATE_FD"],
  ["GByteArray", "VMSTATE_GBYTEARRAY"],
  ["buffer", "VMSTATE_BUFFER"],
  ["unused_buffer", "VMSTATE_UNUSED"],
  ["struct", "VMSTATE_STRUCT"],
  ["vstruct", "VMSTATE_VSTRUCT"],
  ["tmp", "VMSTATE_WITH_TMP"],
  ["qlist", "VMSTATE_QLIST_V"],
  ["qtailq", "VMSTATE_QTAILQ_V"],
  ["gtree", "VMSTATE_GTREE_V"],
  ["ghash", "VMSTATE_GHASH_V"],
  ["pci config", "VMSTATE_PCI_DEVICE"],
  ["pci irq state", "VMSTATE_PCI_DEVICE"],
  ["msix state", "VMSTATE_MSIX"],
  ["shpc", "SHPC_VMSTATE"],
  ["virtio", "VMSTATE_VIRTIO_DEVICE"],
  ["subsection", ".subsections"],
]);

/** Such as "VMSTATE_UINT32_ARRAY"; undefined for a type that has no macro, or is not known. */
export function macroOf({ type, value, fields }: FieldNode): string | undefined {
  const macro = macros.get(type);
  if (macro === undefined) return undefined;
  const isArray = Array.isArray(value) || (fields !== undefined && fields.length > 0 && fields.every(isElement));
  return isArray && /^VMSTATE_(U?INT|BOOL|STRUCT|VSTRUCT|TIMER)/.test(macro) ? `${macro}_ARRAY` : macro;
}

function isElement({ name }: FieldNode): boolean {
  return typeof name === "number";
}
