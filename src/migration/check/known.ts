// Fields that a device compares with its own when it has been loaded. Nothing in a stream says so; here they are by name, each
// seen in a load that QEMU refused, or with its place in QEMU.

/** A field by the name of its section without a path, and its own path. */
const compared: ReadonlyMap<string, readonly string[]> = new Map([
  // QEMU 10.0 hw/timer/hpet.c, hpet_validate_num_timers. Until 9.0 the field was num_timers, and any number was taken.
  ["hpet", ["num_timers_save"]],
  // QEMU 10.0 hw/net/e1000e.c, e1000e_post_load.
  ["e1000e", ["subsys", "subsys_ven"]],
  // QEMU 10.0 hw/virtio/virtio-mem.c, virtio_mem_mig_sanity_checks_post_load.
  ["virtio-mem-device-early", ["tmp/addr", "tmp/region_size", "tmp/block_size", "tmp/node"]],
]);

/** Paths of the section's fields that must be the same in the destination. */
export function knownEqual(section: string): readonly string[] {
  const name = section.slice(section.lastIndexOf("/") + 1).replace(/\(\d+\)$/, "");
  return compared.get(name) ?? [];
}

/** Sections without a path that every QEMU takes and newer ones never send: audio/audio.c, vmstate_audio_needed. */
export const neverSent: ReadonlySet<string> = new Set(["audio"]);
