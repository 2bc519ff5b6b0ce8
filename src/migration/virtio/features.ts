// Virtio's feature bits by name, for each type of device, with the QEMU property that switches each (virtio 1.3;
// QEMU 10.0 include/standard-headers/linux/virtio_*.h and the devices' properties).

/** One feature that a virtio device can offer. */
export interface VirtioFeature {
  readonly bit: number;
  /** As the virtio standard has it, such as "VIRTIO_NET_F_MRG_RXBUF"; "bit 43" for one that has no name here. */
  readonly name: string;
  /** QEMU's property of the device that switches it; undefined if there is none, or it follows from other things. */
  readonly property: string | undefined;
}

/**
 * The features of `bits`, lowest first. `device` is the device's type as the section or QEMU's device names it, with or
 * without a path: "virtio-net", "0000:00:03.0/virtio-blk", "virtio-scsi-pci", "vhost-user-fs". The bits that all types
 * share have names also for an unknown type.
 */
export function virtioFeatures(device: string, bits: bigint): VirtioFeature[] {
  const own = tables.get(virtioType(device) ?? "");
  const features: VirtioFeature[] = [];
  for (let bit = 0, rest = bits; rest > 0n; bit++, rest >>= 1n) {
    if ((rest & 1n) === 0n) continue;
    const { name, property } = own?.get(bit) ?? shared.get(bit) ?? { name: `bit ${bit}`, property: undefined };
    features.push({ bit, name, property });
  }
  return features;
}

/**
 * The type of a virtio device by the name of its section or of QEMU's device, such as "net" for "virtio-net-pci"; undefined
 * if it is unknown.
 */
export function virtioType(device: string): string | undefined {
  const name = device.slice(device.lastIndexOf("/") + 1).replace(/(-non)?(-transitional)$|\(\d+\)$/, "");
  const short = name.replace(/^(vhost-user|vhost|virtio)-/, "").replace(/-(pci|device|ccw|base)$/, "");
  const type = aliases.get(short) ?? short;
  return tables.has(type) && name !== short ? type : undefined;
}

type FeatureTable = ReadonlyMap<number, Omit<VirtioFeature, "bit">>;
type Row = readonly [bit: number, name: string, property?: string];

function features(prefix: string, rows: readonly Row[]): FeatureTable {
  return new Map(rows.map(([bit, name, property]) => [bit, { name: `${prefix}${name}`, property }]));
}

/** Names of QEMU's devices that differ from the type's. */
const aliases: ReadonlyMap<string, string> = new Map([
  ["serial", "console"],
  ["serial-bus", "console"],
  ["vga", "gpu"],
  ["gpu-gl", "gpu"],
  ["vga-gl", "gpu"],
  ["gpu-rutabaga", "gpu"],
  ["keyboard", "input"],
  ["mouse", "input"],
  ["tablet", "input"],
  ["multitouch", "input"],
  ["input-host", "input"],
  ["input-hid", "input"],
  ["virtio-vsock", "vsock"],
  ["vhost_vsock", "vsock"],
  ["vhost-vsock", "vsock"],
  ["vhost_scsi", "scsi"],
  ["sound", "snd"],
]);

/** Of every type: ring and transport (QEMU 10.0 include/standard-headers/linux/virtio_ring.h, virtio_config.h). */
const shared = features("VIRTIO_", [
  [24, "F_NOTIFY_ON_EMPTY", "notify_on_empty"],
  [27, "F_ANY_LAYOUT", "any_layout"],
  [28, "RING_F_INDIRECT_DESC", "indirect_desc"],
  [29, "RING_F_EVENT_IDX", "event_idx"],
  // Of QEMU's PCI devices: a driver that takes it negotiates wrongly.
  [30, "F_BAD_FEATURE"],
  [32, "F_VERSION_1", "disable-modern"],
  [33, "F_IOMMU_PLATFORM", "iommu_platform"],
  [34, "F_RING_PACKED", "packed"],
  [35, "F_IN_ORDER", "in_order"],
  [36, "F_ORDER_PLATFORM"],
  [37, "F_SR_IOV"],
  [38, "F_NOTIFICATION_DATA", "notification_data"],
  [39, "F_NOTIF_CONFIG_DATA"],
  [40, "F_RING_RESET", "queue_reset"],
  [41, "F_ADMIN_VQ"],
]);

const tables: ReadonlyMap<string, FeatureTable> = new Map<string, FeatureTable>([
  [
    "net",
    features("VIRTIO_NET_F_", [
      [0, "CSUM", "csum"],
      [1, "GUEST_CSUM", "guest_csum"],
      [2, "CTRL_GUEST_OFFLOADS", "ctrl_guest_offloads"],
      [3, "MTU", "host_mtu"],
      [5, "MAC"],
      [6, "GSO", "gso"],
      [7, "GUEST_TSO4", "guest_tso4"],
      [8, "GUEST_TSO6", "guest_tso6"],
      [9, "GUEST_ECN", "guest_ecn"],
      [10, "GUEST_UFO", "guest_ufo"],
      [11, "HOST_TSO4", "host_tso4"],
      [12, "HOST_TSO6", "host_tso6"],
      [13, "HOST_ECN", "host_ecn"],
      [14, "HOST_UFO", "host_ufo"],
      [15, "MRG_RXBUF", "mrg_rxbuf"],
      [16, "STATUS", "status"],
      [17, "CTRL_VQ", "ctrl_vq"],
      [18, "CTRL_RX", "ctrl_rx"],
      [19, "CTRL_VLAN", "ctrl_vlan"],
      [20, "CTRL_RX_EXTRA", "ctrl_rx_extra"],
      [21, "GUEST_ANNOUNCE", "guest_announce"],
      [22, "MQ", "mq"],
      [23, "CTRL_MAC_ADDR", "ctrl_mac_addr"],
      [50, "DEVICE_STATS"],
      [52, "VQ_NOTF_COAL"],
      [53, "NOTF_COAL"],
      [54, "GUEST_USO4", "guest_uso4"],
      [55, "GUEST_USO6", "guest_uso6"],
      [56, "HOST_USO", "host_uso"],
      [57, "HASH_REPORT", "hash"],
      [59, "GUEST_HDRLEN"],
      [60, "RSS", "rss"],
      [61, "RSC_EXT", "guest_rsc_ext"],
      [62, "STANDBY", "failover"],
      [63, "SPEED_DUPLEX", "speed"],
      [65, "GUEST_UDP_TUNNEL_GSO", "guest_tunnel"],
      [66, "GUEST_UDP_TUNNEL_GSO_CSUM", "guest_tunnel_csum"],
      [67, "HOST_UDP_TUNNEL_GSO", "host_tunnel"],
      [68, "HOST_UDP_TUNNEL_GSO_CSUM", "host_tunnel_csum"],
    ]),
  ],
  [
    "blk",
    features("VIRTIO_BLK_F_", [
      [0, "BARRIER"],
      [1, "SIZE_MAX"],
      [2, "SEG_MAX"],
      [4, "GEOMETRY"],
      [5, "RO", "read-only (of the drive)"],
      [6, "BLK_SIZE"],
      [7, "SCSI", "scsi"],
      [9, "FLUSH"],
      [10, "TOPOLOGY"],
      [11, "CONFIG_WCE", "config-wce"],
      [12, "MQ", "num-queues"],
      [13, "DISCARD", "discard"],
      [14, "WRITE_ZEROES", "write-zeroes"],
      [16, "SECURE_ERASE"],
      [17, "ZONED"],
    ]),
  ],
  [
    "scsi",
    features("VIRTIO_SCSI_F_", [
      [0, "INOUT"],
      [1, "HOTPLUG", "hotplug"],
      [2, "CHANGE", "param_change"],
      [3, "T10_PI", "t10_pi"],
    ]),
  ],
  [
    "console",
    features("VIRTIO_CONSOLE_F_", [
      [0, "SIZE"],
      [1, "MULTIPORT", "max_ports"],
      [2, "EMERG_WRITE", "emergency-write"],
    ]),
  ],
  [
    "balloon",
    features("VIRTIO_BALLOON_F_", [
      [0, "MUST_TELL_HOST"],
      [1, "STATS_VQ"],
      [2, "DEFLATE_ON_OOM", "deflate-on-oom"],
      [3, "FREE_PAGE_HINT", "free-page-hint"],
      [4, "PAGE_POISON", "page-poison"],
      [5, "REPORTING", "free-page-reporting"],
    ]),
  ],
  [
    "gpu",
    features("VIRTIO_GPU_F_", [
      [0, "VIRGL"],
      [1, "EDID", "edid"],
      [2, "RESOURCE_UUID"],
      [3, "RESOURCE_BLOB", "blob"],
      [4, "CONTEXT_INIT"],
    ]),
  ],
  [
    "crypto",
    features("VIRTIO_CRYPTO_F_", [
      [0, "REVISION_1"],
      [1, "CIPHER_STATELESS_MODE"],
      [2, "HASH_STATELESS_MODE"],
      [3, "MAC_STATELESS_MODE"],
      [4, "AEAD_STATELESS_MODE"],
    ]),
  ],
  [
    "mem",
    features("VIRTIO_MEM_F_", [
      [0, "ACPI_PXM"],
      [1, "UNPLUGGED_INACCESSIBLE", "unplugged-inaccessible"],
      [2, "PERSISTENT_SUSPEND", "x-early-migration"],
    ]),
  ],
  [
    "iommu",
    features("VIRTIO_IOMMU_F_", [
      [0, "INPUT_RANGE"],
      [1, "DOMAIN_RANGE"],
      [2, "MAP_UNMAP"],
      [3, "BYPASS"],
      [4, "PROBE"],
      [5, "MMIO"],
      [6, "BYPASS_CONFIG", "boot-bypass"],
    ]),
  ],
  [
    "vsock",
    features("VIRTIO_VSOCK_F_", [
      [0, "STREAM"],
      [1, "SEQPACKET", "seqpacket"],
      [2, "NO_IMPLIED_STREAM"],
    ]),
  ],
  ["pmem", features("VIRTIO_PMEM_F_", [[0, "SHMEM_REGION"]])],
  ["9p", features("VIRTIO_9P_", [[0, "MOUNT_TAG", "mount_tag"]])],
  ["fs", features("VIRTIO_FS_F_", [[0, "NOTIFICATION"]])],
  ["snd", features("VIRTIO_SND_F_", [[0, "CTLS"]])],
  ["i2c", features("VIRTIO_I2C_F_", [[0, "ZERO_LENGTH_REQUEST"]])],
  ["gpio", features("VIRTIO_GPIO_F_", [[0, "IRQ"]])],
  ["rtc", features("VIRTIO_RTC_F_", [[0, "ALARM"]])],
  ["rng", new Map()],
  ["input", new Map()],
]);
