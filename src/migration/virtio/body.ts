// The body of the field "virtio" as one description: transport, device, queues, the device's own part, subsections
// (QEMU 10.0 hw/virtio/virtio.c, virtio_save; virtio-pci.c; virtio-mmio.c).

import { describe } from "../../vmstate/description.ts";
import { array, varray } from "../../vmstate/fields/arrays.ts";
import { buffer, vbuffer } from "../../vmstate/fields/buffers.ts";
import { bool, int32, uint8, uint16, uint32, uint64 } from "../../vmstate/fields/integers.ts";
import { struct } from "../../vmstate/fields/struct.ts";
import type { AnyField, NamedField, NamedSubsection } from "../../vmstate/types.ts";
import { msixState, pciConfig, pciIrqState } from "../pci/fields.ts";
import { ccwDevice } from "./ccw.ts";
import { virtioType } from "./features.ts";
import { alikeAtEnd, featureBits, named, type PlainDescription, plain } from "./kinds.ts";

/** How a virtio device is attached, as far as its bytes depend on it. */
export type Transport =
  /** `vectors`: of the MSI-X table; 0 without one. */
  | { readonly kind: "pci"; readonly configSize: number; readonly vectors: number }
  | { readonly kind: "mmio" }
  /** s390x's channel subsystem: `size` bytes before the virtio part. */
  | { readonly kind: "ccw"; readonly size: number };

/** Queues that a device may have (VIRTIO_QUEUE_MAX). */
const maxQueues = 1024;

/** The whole body of a device of this type, with this transport and own part. */
export function virtioBody(device: string, transport: Transport, own: readonly NamedField[]): PlainDescription {
  return describe({
    name: "virtio",
    version: 1,
    minimumVersion: 0,
    fields: [
      ...named(transportFields(transport)),
      ...named({
        status: uint8(),
        isr: uint8(),
        queue_sel: uint16(),
        guest_features: featureBits(device, uint32()),
        config_len: uint32(),
        config: vbuffer("config_len"),
        queues: uint32(),
        vq: varray("queues", struct(queue(transport))),
      }),
      ...own,
    ],
    subsections: subsectionsOf(device, transport.kind === "mmio"),
  });
}

/** Those made already: they are the same for every form of a device. */
const known = new Map<string, readonly NamedSubsection[]>();

function subsectionsOf(device: string, isMmio: boolean): readonly NamedSubsection[] {
  // Only the names of its features depend on the device, which a stream may name as it likes.
  const type = virtioType(device) ?? "";
  const key = `${type} ${isMmio}`;
  const made = known.get(key) ?? subsections(device, isMmio).map((one) => ({ key: one.name, description: one }));
  known.set(key, made);
  return made;
}

function transportFields(transport: Transport): Readonly<Record<string, AnyField>> {
  switch (transport.kind) {
    case "pci": {
      const { configSize, vectors } = transport;
      const pci = plain("PCIDevice", 2, {
        version_id: int32(),
        config: pciConfig(configSize),
        irq_state: pciIrqState(),
      });
      return { pci: struct(pci), ...(vectors > 0 ? { msix: msixState(vectors), config_vector: uint16() } : {}) };
    }
    case "mmio":
      return { host_features_sel: uint32(), guest_features_sel: uint32(), guest_page_shift: uint32() };
    case "ccw":
      return { ccw: struct(ccwDevice) };
  }
}

function queue(transport: Transport): PlainDescription {
  const hasVector = transport.kind === "ccw" || (transport.kind === "pci" && transport.vectors > 0);
  return plain("queue", 0, {
    num: uint32(),
    ...(transport.kind === "mmio" ? { align: uint32() } : {}),
    desc: uint64(),
    last_avail_idx: uint16(),
    ...(hasVector ? { vector: uint16() } : {}),
  });
}

function subsections(device: string, isMmio: boolean): PlainDescription[] {
  return [
    plain("virtio/device_endian", 1, { device_endian: uint8() }),
    plain("virtio/128bit_features", 1, { guest_features: featureBits(device, uint64(), 64) }),
    plain("virtio/64bit_features", 1, { guest_features: featureBits(device, uint64()) }),
    plain("virtio/virtqueues", 1, each("virtqueue_state", 16, { "vring.avail": uint64(), "vring.used": uint64() })),
    plain("virtio/ringsize", 1, each("ringsize_state", 4, { "vring.num_default": uint32() })),
    plain("virtio/broken", 1, { broken: bool() }),
    plain("virtio/extra_state", 1, { extra_state: extraState(isMmio) }),
    plain("virtio/started", 1, { started: bool() }),
    plain(
      "virtio/packed_virtqueues",
      1,
      each("packed_virtqueue_state", 10, {
        last_avail_idx: uint16(),
        last_avail_wrap_counter: bool(),
        used_idx: uint16(),
        used_wrap_counter: bool(),
        inuse: uint32(),
      }),
    ),
    plain("virtio/disabled", 1, { disabled: bool() }),
  ];
}

/** What the transport adds for devices of virtio 1.0: its own description, in which all is in subsections. */
function extraState(isMmio: boolean): AnyField {
  const address = { desc: array(uint32(), 2), avail: array(uint32(), 2), used: array(uint32(), 2) };
  const guestFeatures = array(uint32(), 2);
  if (isMmio) {
    const queueState = each("virtio_mmio/queue_state", 27, { num: uint16(), enabled: bool(), ...address });
    const state = plain("virtio_mmio/state", 1, { guest_features: guestFeatures, ...queueState });
    return struct(plain("virtio_mmio", 1, {}, [state]));
  }
  const queueState = each("virtio_pci/modern_queue_state", 28, {
    num: uint16(),
    unused: buffer(1),
    enabled: bool(),
    ...address,
  });
  const select = { dfselect: uint32(), gfselect: uint32() };
  const more = plain("virtio_pci/modern_state/features128", 1, { guest_features: guestFeatures });
  const state = plain("virtio_pci/modern_state", 1, { ...select, guest_features: guestFeatures, ...queueState }, [
    more,
  ]);
  return struct(plain("virtio_pci", 1, {}, [state]));
}

function each(name: string, size: number, fields: Readonly<Record<string, AnyField>>): { readonly vq: AnyField } {
  return { vq: alikeAtEnd(struct(plain(name, 1, fields)), size, maxQueues) };
}
