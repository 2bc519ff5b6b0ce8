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

const packed = new Map<string, Uint8Array>();

/**
 * @param words of the kernel's command line, as init reads them: they say which modules are needed
 * @throws {Error} the kernel or busybox is missing
 */
export function linuxGuest(words = ""): LinuxGuest {
  if (!hasLinuxGuest()) throw new Error(`no guest kernel in ${join(cacheDir(), "guest")}: run "npm run qemu"`);
  const init = readFileSync(new URL("./init", import.meta.url));
  const wanted = [
    ...(/\bnet=/.test(words) ? ["virtio_pci", "virtio_net"] : []),
    ...(/\bdisks=/.test(words) ? ["virtio_pci", "virtio_blk", "virtio_scsi", "sd_mod"] : []),
  ];
  const key = wanted.join(" ");
  const initramfs =
    packed.get(key) ?? packInitramfs(init, readFileSync(join(cacheDir(), "guest/busybox")), modulesFor(wanted));
  packed.set(key, initramfs);
  return { kernel: join(cacheDir(), "guest/vmlinuz"), initramfs };
}

/** In the order in which they load: what one needs, as it says itself, comes before it. */
function modulesFor(wanted: readonly string[]): Map<string, Uint8Array> {
  const modules = new Map<string, Uint8Array>();
  const add = (name: string): void => {
    if (modules.has(`${name}.ko`)) return;
    const path = join(cacheDir(), "guest/modules", `${name}.ko`);
    if (!existsSync(path)) throw new Error(`${path} is missing: run "npm run qemu"`);
    const content = readFileSync(path);
    const needs = /\0depends=([^\0]*)\0/.exec(content.toString("latin1"))?.[1] ?? "";
    for (const each of needs.split(",")) if (each !== "") add(each);
    modules.set(`${name}.ko`, content);
  };
  for (const name of wanted) add(name);
  return modules;
}
