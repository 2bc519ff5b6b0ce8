// The kernel of the emulated host. Debian's own have no IOMMUFD up to 7.3, so Debian's source is built with a
// configuration of ours: everything is in it, and it boots without an initrd.

import { copyFileSync, existsSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { availableParallelism } from "node:os";
import { join } from "node:path";
import { run } from "../scripts/qemu/debian.mjs";
import { makeRoot } from "./root.mjs";

const VERSION = "7.3";
const PACKAGES = `gcc make flex bison bc libelf-dev libssl-dev xz-utils cpio python3-minimal linux-source-${VERSION}`;
const CONFIG = join(import.meta.dirname, "kernel.config");

/**
 * @param {string} cache
 * @param {(line: string) => void} say
 * @returns {Promise<string>} path of the bzImage
 */
export async function makeKernel(cache, say) {
  const given = process.env.CPRKIT_LAB_KERNEL;
  if (given) return given;
  const work = join(cache, "lab");
  const image = join(work, "bzImage");
  const stamp = join(work, "kernel.config");
  const config = readFileSync(CONFIG, "utf8");
  if (existsSync(image) && existsSync(stamp) && readFileSync(stamp, "utf8") === config) return image;
  say(
    `lab's kernel: Linux ${VERSION} is built, once; some 20 minutes on two cores (CPRKIT_LAB_KERNEL names one that is there)`,
  );
  const home = join(work, "kernel");
  await makeRoot(home, ["trixie", "trixie-backports"], PACKAGES.split(" "), (line) => say(`lab's kernel: ${line}`));
  const root = join(home, "root");
  copyFileSync(CONFIG, join(root, "root/kernel.config"));
  say("lab's kernel: compiling");
  // A mount namespace of its own: objtool reads /proc, and the mount ends with the build.
  const enter = 'mount -t proc proc "$1/proc" && exec chroot "$1" sh -ec "$2" sh "$3" "$4"';
  const namespaces = process.getuid?.() === 0 ? ["-m"] : ["-r", "-m"];
  const args = [...namespaces, "sh", "-c", enter, "sh", root, BUILD, VERSION, String(availableParallelism())];
  const said = await run("unshare", args, work, undefined, "the kernel can't be built");
  if (said.trim() !== "") say(said.trim());
  copyFileSync(join(root, `usr/src/linux-source-${VERSION}/arch/x86/boot/bzImage`), image);
  writeFileSync(stamp, config);
  rmSync(root, { recursive: true, force: true });
  return image;
}

const BUILD = `
export PATH=/usr/sbin:/usr/bin:/sbin:/bin
[ -e /dev/null ] || mknod -m 666 /dev/null c 1 3
cd /usr/src
tar -xf linux-source-$1.tar.xz
cd linux-source-$1
make -s KCONFIG_ALLCONFIG=/root/kernel.config allnoconfig
# What it did not take: a name that this version has no more, or one that depends on something else.
grep '=y$' /root/kernel.config | while read -r line; do grep -qxF "$line" .config || echo "not taken: $line"; done
make -s -j"$2" bzImage >/root/build.log 2>&1 || { tail -n 20 /root/build.log >&2; exit 1; }
`;
