// The disk of the emulated host: Debian with systemd, Node, and both QEMUs at the paths that they have here, since each
// names its loader by an absolute path. cprkit is not in it: it comes with each run.

import {
  chmodSync,
  copyFileSync,
  cpSync,
  existsSync,
  mkdirSync,
  readFileSync,
  realpathSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { dirname, join } from "node:path";
import { run } from "../scripts/qemu/debian.mjs";
import { makeRoot } from "./root.mjs";

/** Raised when the image's content changes, so that an older one is made anew. */
const LAYOUT = 1;
const HERE = import.meta.dirname;
const PACKAGES = "systemd systemd-sysv udev kmod procps pciutils iproute2 dbus libstdc++6 strace binutils".split(" ");
const QEMUS = ["10.0", "11.1"];
/** Units that take time and do nothing here. */
const MASKED = (
  "tmp.mount getty@tty1.service serial-getty@ttyS0.service apt-daily.timer apt-daily-upgrade.timer dpkg-db-backup.timer " +
  "e2scrub_all.timer fstrim.timer systemd-networkd.service systemd-timesyncd.service systemd-tpm2-setup.service " +
  "systemd-tpm2-setup-early.service systemd-hwdb-update.service ldconfig.service systemd-sysusers.service"
).split(" ");

/**
 * @param {string} cache the project's cache, with both QEMUs
 * @param {(line: string) => void} say
 * @returns {Promise<string>} the image's path
 */
export async function makeImage(cache, say) {
  const work = join(cache, "lab");
  const image = join(work, "root.img");
  const stampFile = join(work, "image.json");
  const qemus = QEMUS.map((version) => join(cache, "qemu", version));
  const wanted = {
    layout: LAYOUT,
    node: process.version,
    cache,
    qemus: qemus.map((home) => JSON.parse(readFileSync(join(home, "stamp.json"), "utf8")).version),
  };
  if (existsSync(image) && existsSync(stampFile)) {
    const { versions: _versions, ...stamp } = JSON.parse(readFileSync(stampFile, "utf8"));
    if (JSON.stringify(stamp) === JSON.stringify(wanted)) return image;
  }
  const home = join(work, "debian");
  const versions = await makeRoot(home, ["trixie"], PACKAGES, (line) => say(`lab's system: ${line}`));
  say("lab's disk: collecting");
  const stage = join(home, "root");
  for (const folder of ["usr/share/doc", "usr/share/man", "usr/share/locale", "usr/lib/udev/hwdb.d"]) {
    rmSync(join(stage, folder), { recursive: true, force: true });
  }
  copyFileSync(realpathSync(process.execPath), join(stage, "usr/bin/node"));
  for (const [index, qemu] of qemus.entries()) {
    await copyQemu(qemu, stage);
    mkdirSync(join(stage, "qemu"), { recursive: true });
    symlinkSync(join(qemu, "qemu-system-x86_64"), join(stage, "qemu", QEMUS[index] ?? ""));
  }
  settle(stage);
  say("lab's disk: writing");
  const fresh = `${image}.new`;
  rmSync(fresh, { force: true });
  const size = Number((await run("du", ["-sm", stage], work, undefined, "du failed")).split("\t")[0]) + 600;
  const options = ["-q", "-t", "ext4", "-d", stage, "-L", "lab", "-m", "0", "-O", "^has_journal"];
  await run(
    "mke2fs",
    [...options, "-E", "lazy_itable_init=1,root_owner=0:0", fresh, `${size}M`],
    work,
    { PATH: `${process.env.PATH}:/usr/sbin:/sbin` },
    "the disk can't be written",
  );
  renameSync(fresh, image);
  writeFileSync(stampFile, `${JSON.stringify({ ...wanted, versions }, null, 2)}\n`);
  rmSync(stage, { recursive: true, force: true });
  return image;
}

/** @param {string} home @param {string} stage */
async function copyQemu(home, stage) {
  const to = join(stage, home);
  mkdirSync(dirname(to), { recursive: true });
  const leaveOut = /\/usr\/share\/(doc|man|locale|perl\w*)$|\/usr\/bin\/(qemu-system-(i386|x86_64-microvm))$|\/gconv$/;
  cpSync(home, to, { recursive: true, verbatimSymlinks: true, filter: (source) => !leaveOut.test(source) });
}

/** @param {string} stage */
function settle(stage) {
  const etc = join(stage, "etc");
  const units = join(etc, "systemd/system");
  mkdirSync(join(stage, "lab"), { recursive: true });
  copyFileSync(join(HERE, "inside/agent.sh"), join(stage, "lab/agent.sh"));
  chmodSync(join(stage, "lab/agent.sh"), 0o755);
  mkdirSync(join(units, "basic.target.wants"), { recursive: true });
  copyFileSync(join(HERE, "inside/lab-agent.service"), join(units, "lab-agent.service"));
  symlinkSync("/etc/systemd/system/lab-agent.service", join(units, "basic.target.wants/lab-agent.service"));
  for (const unit of MASKED) {
    rmSync(join(units, unit), { force: true });
    symlinkSync("/dev/null", join(units, unit));
  }
  mkdirSync(join(stage, "share"), { recursive: true });
  writeFileSync(join(etc, "fstab"), "share /share 9p trans=virtio,version=9p2000.L,msize=262144,nofail 0 0\n");
  writeFileSync(join(etc, "hostname"), "lab\n");
  // Without an id systemd takes each boot for the first one, and asks.
  writeFileSync(join(etc, "machine-id"), "0123456789abcdef0123456789abcdef\n");
  mkdirSync(join(etc, "systemd/journald.conf.d"), { recursive: true });
  writeFileSync(join(etc, "systemd/journald.conf.d/lab.conf"), "[Journal]\nStorage=volatile\nForwardToConsole=no\n");
}
