// What can be passed through in the emulated host, and where: each behind a root port, so each in an IOMMU group of its own.

/** @typedef {{ readonly address: string, readonly what: string, readonly vectors: number, readonly words: readonly string[] }} Device */

/** @type {Device[]} */
export const DEVICES = [
  device(1, "e1000e", 5, []),
  device(2, "igb", 10, []),
  device(3, "nvme", 65, ["drive=n3", "serial=n3"]),
  device(4, "nvme", 2048, ["drive=n4", "serial=n4", "msix_qsize=2048", "max_ioqpairs=2047"]),
  device(5, "virtio-net-pci", 64, ["iommu_platform=on", "disable-legacy=on", "vectors=64"]),
  device(6, "e1000e", 5, []),
  device(7, "igb", 10, []),
  device(8, "nvme", 65, ["drive=n8", "serial=n8"]),
];

/** Words of QEMU's command line that make them all. */
export const DEVICE_WORDS = DEVICES.flatMap(({ words }) => words);

/**
 * @param {number} slot
 * @param {string} what
 * @param {number} vectors
 * @param {readonly string[]} options
 * @returns {Device}
 */
function device(slot, what, vectors, options) {
  const disk = what === "nvme" ? ["-blockdev", `driver=null-co,node-name=n${slot},size=67108864,read-zeroes=on`] : [];
  // Slots 8 and up: below are the disk and the devices of the host itself.
  const port = `pcie-root-port,id=rp${slot},chassis=${slot},addr=${(slot + 7).toString(16).padStart(2, "0")}`;
  return {
    address: `0000:0${slot}:00.0`,
    what,
    vectors,
    words: ["-device", port, ...disk, "-device", [what, `bus=rp${slot}`, ...options].join(",")],
  };
}
