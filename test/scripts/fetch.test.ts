// scripts/qemu/fetch.mjs where it cannot do its work: one line that says what is in the way and how to go on. Downloads that
// break off: fetch.long.test.ts.

import { spawnSync } from "node:child_process";
import { chmodSync, existsSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, it } from "vitest";
import { cacheDir } from "../support/cache-dir.ts";
import { repoRoot } from "../support/cli.ts";
import { isRoot } from "../support/other-user.ts";
import { privateDir } from "../support/vm.ts";

const script = join(repoRoot, "scripts/qemu/fetch.mjs");

function fetch(cache: string, words: readonly string[], env: NodeJS.ProcessEnv = {}, before: readonly string[] = []) {
  const [program = "", ...args] = [...before, process.execPath, script, ...words];
  const { status, stdout, stderr } = spawnSync(program, args, {
    ...{ encoding: "utf8", timeout: 110_000, env: { ...process.env, CPRKIT_CACHE: cache, ...env } },
  });
  return { status, stdout, stderr };
}

/** Words before a command for which the folder is read-only: root may write whatever the mode says. */
const readOnly = (folder: string) =>
  isRoot
    ? [
        ...["unshare", "--mount", "sh", "-c"],
        'mount --bind "$0" "$0" && mount -o remount,ro,bind "$0" && exec "$@"',
        folder,
      ]
    : [];
const canBeReadOnly = !isRoot || spawnSync("unshare", ["--mount", "true"]).status === 0;

it("a cache to which nothing can be written is named, and how to have another", (context) => {
  context.skip(!canBeReadOnly, "no mount namespace can be made here");
  const cache = privateDir();
  chmodSync(cache, 0o555);
  const { status, stdout, stderr } = fetch(cache, ["guest"], {}, readOnly(cache));
  expect({ status, stdout, stderr }).toEqual({
    ...{ status: 4, stdout: "" },
    stderr: `fetch: nothing can be written to ${cache} (${isRoot ? "EROFS" : "EACCES"}): name another folder in CPRKIT_CACHE\n`,
  });
});

it("a read-only cache with all of it is used", (context) => {
  context.skip(!canBeReadOnly, "no mount namespace can be made here");
  context.skip(!existsSync(join(cacheDir(), "guest/stamp.json")), 'the guest kernel is missing: run "npm run qemu"');
  expect(fetch(cacheDir(), ["guest"], {}, readOnly(cacheDir()))).toMatchObject({ status: 0, stderr: "" });
});

it("what was cut off in the middle is not taken for whole", () => {
  const cache = privateDir();
  const home = join(cache, "qemu/10.0");
  mkdirSync(home, { recursive: true });
  writeFileSync(join(home, "qemu-system-x86_64"), "");
  const stamp = JSON.stringify({ layout: 1, home, version: "1:10.0.2", packages: {} });
  writeFileSync(join(home, "stamp.json"), stamp);
  expect(fetch(cache, ["10.0", "--check"])).toMatchObject({ status: 0, stderr: "" });
  writeFileSync(join(home, "stamp.json"), stamp.slice(0, 20));
  expect(fetch(cache, ["10.0", "--check"])).toEqual({ status: 1, stdout: "10.0     missing\n", stderr: "" });
});

it("no mirror that answers: one line with what apt-get said", { timeout: 120_000 }, () => {
  const nobodyThere = { CPRKIT_DEBIAN_MIRROR: "http://127.0.0.1:9/debian" };
  const said =
    /^guest: reading package lists \(bookworm\)\nfetch: cannot read the package lists of bookworm from [^\n]*127\.0\.0\.1[^\n]*\n$/;
  expect(fetch(privateDir(), ["guest"], nobodyThere)).toEqual({
    ...{ status: 4, stdout: "", stderr: expect.stringMatching(said) },
  });
});

it("a suite that has moved on to another version: how an older day of the archive is named", (context) => {
  const keyring = "/usr/share/keyrings/debian-archive-keyring.gpg";
  context.skip(!existsSync(keyring), "this is no Debian");
  const bin = privateDir();
  const offered = `'http://x/q.deb' qemu-system-x86_1%3a99.0.0+ds-1_amd64.deb 1 SHA256:${"0".repeat(64)}`;
  writeFileSync(join(bin, "apt-get"), `#!/bin/sh\ncase "$*" in *print-uris*) echo "${offered}";; esac\n`, {
    mode: 0o755,
  });
  for (const name of ["apt-config", "dpkg-deb"]) writeFileSync(join(bin, name), "#!/bin/sh\n", { mode: 0o755 });
  const env = { CPRKIT_DEBIAN_MIRROR: "http://127.0.0.1:9/debian", PATH: `${bin}:${process.env["PATH"]}` };
  const { status, stderr } = fetch(privateDir(), ["11.1"], env);
  expect(status).toBe(4);
  expect(stderr.split("\n").at(-2)).toMatch(
    /^fetch: trixie-backports has qemu-system-x86 1:99\.0\.0\+ds-1, but 11\.1 was wanted: .* CPRKIT_DEBIAN_MIRROR, such as http:\/\/snapshot\.debian\.org\/\S+$/,
  );
});
