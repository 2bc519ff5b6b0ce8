// A Debian system in a folder, of unpacked packages: nothing is installed on this machine, and nothing is mounted.

import { appendFileSync, copyFileSync, existsSync, mkdirSync, rmSync, symlinkSync } from "node:fs";
import { join } from "node:path";
import { downloadPackages, preparePrivateApt, resolvePackages, run, unpackPackages } from "../scripts/qemu/debian.mjs";

/** What Debian takes for granted: apt names no dependency on it. */
const ESSENTIAL = (
  "base-files base-passwd bash coreutils dash diffutils findutils grep gzip hostname init-system-helpers libc-bin mawk " +
  "login mount ncurses-base passwd perl-base sed tar util-linux"
).split(" ");

/** System users that packages make when they are installed, which they are not here. */
const USERS = [
  ["messagebus", 100],
  ["systemd-network", 998],
  ["systemd-resolve", 997],
  ["vm", 1000],
];

/**
 * Unpacks the packages, and what they need, into `home/root`. What was downloaded stays in `home/debs`.
 *
 * @param {string} home
 * @param {readonly string[]} suites the last one is preferred
 * @param {readonly string[]} names
 * @param {(line: string) => void} say
 * @returns {Promise<Record<string, string>>} versions of the packages
 */
export async function makeRoot(home, suites, names, say) {
  mkdirSync(home, { recursive: true });
  const config = await preparePrivateApt(join(home, "apt"), suites);
  const packages = await resolvePackages(config, home, [...ESSENTIAL, ...names], suites.at(-1) ?? "");
  const megabytes = (/** @type {number} */ bytes) => (bytes / 1e6).toFixed(0);
  say(`downloading ${packages.length} packages`);
  await downloadPackages(config, join(home, "debs"), packages, (done, total) =>
    say(`${megabytes(done)} of ${megabytes(total)} MB`),
  );
  const root = join(home, "root");
  rmSync(root, { recursive: true, force: true });
  for (const name of ["bin", "lib", "lib64", "sbin"]) {
    mkdirSync(join(root, "usr", name), { recursive: true });
    symlinkSync(`usr/${name}`, join(root, name));
  }
  say("unpacking");
  await unpackPackages(join(home, "debs"), packages, root);
  settle(root);
  await run("chroot", [root, "/usr/sbin/ldconfig"], home, undefined, "ldconfig failed");
  return Object.fromEntries(packages.map(({ name, version }) => [name, version]));
}

/** What the packages' scripts would have done, as far as it is needed. @param {string} root */
function settle(root) {
  for (const name of ["passwd", "group"]) {
    copyFileSync(join(root, `usr/share/base-passwd/${name}.master`), join(root, "etc", name));
  }
  for (const [name, id] of USERS) {
    appendFileSync(join(root, "etc/passwd"), `${name}:x:${id}:${id}::/nonexistent:/usr/sbin/nologin\n`);
    appendFileSync(join(root, "etc/group"), `${name}:x:${id}:\n`);
  }
  if (!existsSync(join(root, "usr/bin/awk"))) symlinkSync("mawk", join(root, "usr/bin/awk"));
  for (const folder of ["dev", "proc", "sys", "run", "tmp", "root", "var/tmp", "var/log"]) {
    mkdirSync(join(root, folder), { recursive: true });
  }
}
