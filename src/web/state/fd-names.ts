// What an fd of a CPR state is, by its name (QEMU 10.0 system/physmem.c; 11.1 hw/vfio, backends/iommufd.c, net/tap.c).

const address = /^[\da-f]{4,8}:[\da-f]{2}:[\da-f]{2}\.[\da-f]$/;

const rules: readonly (readonly [pattern: RegExp, what: string])[] = [
  [/^vfio_group$/, "VFIO group; the id is the group's number"],
  [/^vfio_container_for_group$/, "VFIO container of a group; the id is the group's number"],
  [/^vfio-(?:device|dev)/, "VFIO device"],
  [/^iommufd/, "iommufd object"],
  [/_kvm_interrupt$/, "interrupt vector of a VFIO device, as KVM injects it (eventfd); the id is the vector"],
  [/_interrupt$/, "interrupt vector of a VFIO device (eventfd); the id is the vector"],
  [/_intx-interrupt$/, "wired interrupt of a VFIO device (eventfd)"],
  [/_intx-unmask$/, "end of a wired interrupt of a VFIO device (eventfd)"],
  [/_err_notifier$/, "errors of a VFIO device (eventfd)"],
  [/_req_notifier$/, "the host wants a VFIO device back (eventfd)"],
  [/^cprkit\//, "handed over by cprkit itself, as QEMU's CPR does not"],
  [/^\/rom@/, "memory of a table for the firmware (memfd)"],
  [/vgamem|\.vram$|^vga\.|ramfb/, "memory of a display (memfd)"],
  [/\.(?:bios|rom|flash\d*)$|^system\.flash/, "memory of firmware (memfd)"],
];

/** In a few words. What has no rule is a block of guest RAM: these are named by the user. */
export function fdPurpose(name: string): string {
  const found = rules.find(([pattern]) => pattern.test(name));
  if (found !== undefined) return found[1];
  return address.test(name) ? "VFIO device, opened by iommufd" : "guest RAM (memfd), named after its backend or block";
}
