import { describe, expect, it } from "vitest";
import { virtioFeatures, virtioType } from "../../src/migration/virtio/features.ts";

describe("features of virtio devices", () => {
  it("names them by the device's type, with the property that switches each", () => {
    expect(virtioFeatures("virtio-net", 0x1_0000_8001n)).toEqual([
      { bit: 0, name: "VIRTIO_NET_F_CSUM", property: "csum" },
      { bit: 15, name: "VIRTIO_NET_F_MRG_RXBUF", property: "mrg_rxbuf" },
      { bit: 32, name: "VIRTIO_F_VERSION_1", property: "disable-modern" },
    ]);
    expect(virtioFeatures("0000:00:03.0/virtio-blk", 0x1000n)[0]?.property).toBe("num-queues");
    expect(virtioFeatures("virtio-net", 1n << 65n)[0]?.name).toBe("VIRTIO_NET_F_GUEST_UDP_TUNNEL_GSO");
  });

  it("has the names that all types share for a type that is unknown", () => {
    expect(virtioFeatures("virtio-new", 0x1000_0001n).map(({ name }) => name)).toEqual([
      "bit 0",
      "VIRTIO_RING_F_INDIRECT_DESC",
    ]);
    expect(virtioFeatures("virtio-rng", 0n)).toEqual([]);
  });

  it.each([
    ["virtio-net-pci-non-transitional", "net"],
    ["virtio-blk-device", "blk"],
    ["0000:00:02.0/virtio-console", "console"],
    ["virtio-serial-pci", "console"],
    ["virtio-keyboard-pci", "input"],
    ["vhost-user-fs-pci", "fs"],
    ["virtio-vga", "gpu"],
    ["e1000", undefined],
    ["net", undefined],
  ])("the type of %s is %s", (name, type) => {
    expect(virtioType(name)).toBe(type);
  });
});
