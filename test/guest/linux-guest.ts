// The Linux guest: a kernel and busybox as `npm run qemu` fetches them, and the counting init beside this file.
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { cacheDir } from "../support/cache-dir.ts";
import { packInitramfs } from "./initramfs.ts";

export interface LinuxGuest {
  /** Path of the kernel image. */
  readonly kernel: string;
  /** Content of the initramfs. */
  readonly initramfs: Uint8Array;
}

/** Whether the kernel and busybox have been fetched. */
export function hasLinuxGuest(): boolean {
  return existsSync(join(cacheDir(), "guest/vmlinuz")) && existsSync(join(cacheDir(), "guest/busybox"));
}

const packed = new Map<boolean, Uint8Array>();

/** @param network with the modules of a virtio network card @throws {Error} the kernel or busybox is missing */
export function linuxGuest(network = false): LinuxGuest {
  if (!hasLinuxGuest()) throw new Error(`no guest kernel in ${join(cacheDir(), "guest")}: run "npm run qemu"`);
  const init = readFileSync(new URL("./init", import.meta.url));
  const modules = network ? networkModules() : new Map<string, Uint8Array>();
  const initramfs =
    packed.get(network) ?? packInitramfs(init, readFileSync(join(cacheDir(), "guest/busybox")), modules);
  packed.set(network, initramfs);
  return { kernel: join(cacheDir(), "guest/vmlinuz"), initramfs };
}

/** In the order in which they load. */
function networkModules(): Map<string, Uint8Array> {
  const order =
    "virtio virtio_ring virtio_pci_legacy_dev virtio_pci_modern_dev virtio_pci failover net_failover virtio_net";
  return new Map(
    order.split(" ").map((name) => {
      const path = join(cacheDir(), "guest/modules", `${name}.ko`);
      if (!existsSync(path)) throw new Error(`${path} is missing: run "npm run qemu"`);
      return [`${name}.ko`, readFileSync(path)] as const;
    }),
  );
}
