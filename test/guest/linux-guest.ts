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

let packed: Uint8Array | undefined;

/** @throws {Error} the kernel or busybox is missing */
export function linuxGuest(): LinuxGuest {
  if (!hasLinuxGuest()) throw new Error(`no guest kernel in ${join(cacheDir(), "guest")}: run "npm run qemu"`);
  const init = readFileSync(new URL("./init", import.meta.url));
  packed ??= packInitramfs(init, readFileSync(join(cacheDir(), "guest/busybox")));
  return { kernel: join(cacheDir(), "guest/vmlinuz"), initramfs: packed };
}
