// "Features 0x… unsupported. Allowed features: 0x…": which features the guest uses that the new device does not offer
// (QEMU 10.0 hw/virtio/virtio.c).

import { virtioFeatures } from "../virtio/features.ts";
import type { Cause } from "./cause.ts";

/** The features that are missing, by name, and how to get them. `device`: the section, if it is known. */
export function explainFeatures(used: bigint, allowed: bigint, device: string | undefined): Cause {
  const missing = virtioFeatures(device ?? "", used & ~allowed);
  const names = missing.map(({ bit, name }) => (name.startsWith("bit ") ? name : `${name} (bit ${bit})`));
  const properties = [...new Set(missing.map(({ property }) => property).filter((one) => one !== undefined))];
  const backend = device === undefined || /net|vhost|user/.test(device);
  return {
    what:
      names.length === 0
        ? "the guest uses features that this device does not offer; QEMU 11.1 names only those that it does offer, the stream has the others (`cprkit explain STREAM`)"
        : `the guest uses ${names.length === 1 ? "a feature" : "features"} that this device does not offer: ${names.join(", ")}`,
    why: `the driver agreed on these features with the old device and would not ask again; the new one was started with others switched off${
      backend ? ", or its backend (tap, vhost, vhost-user) does not have them on this host" : ""
    }`,
    remedy:
      properties.length > 0
        ? `switch them on as the source had them: ${properties.map((one) => `${one}=on`).join(", ")}${
            backend
              ? "; if they are on, compare the backends: kernel and vhost of the two hosts, the vhost-user program, vnet_hdr of the tap"
              : ""
          }`
        : backend
          ? "give the device the source's properties and backend (vhost on or off, the same vhost-user program), and its machine type"
          : "give the device the source's properties, and its machine type",
  };
}
