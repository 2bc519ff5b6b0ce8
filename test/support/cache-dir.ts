// Where scripts/qemu/fetch.mjs puts QEMU and the guest kernel.
import { resolve } from "node:path";
import { fileURLToPath } from "node:url";

/** `.cache` in the repository, or the folder that CPRKIT_CACHE names. */
export function cacheDir(): string {
  return resolve(process.env["CPRKIT_CACHE"] || fileURLToPath(new URL("../../.cache", import.meta.url)));
}
