// The README's two commands in a fresh clone, on a bare Debian 12 with nothing but Node: `npm run demo` and `npm test` fetch
// what they need by themselves. What a test needs beyond that it skips, and says so: each reason is looked at here.

import { execFileSync } from "node:child_process";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type BareDebian, bareDebian, noBareDebian, registryOf } from "../support/bare-debian.ts";
import { repoRoot } from "../support/cli.ts";

const why = noBareDebian();

/** What a Debian has only if it is installed, or its host only if the kernel or hardware has it: README and docs/reliability.md. */
const lacking = [
  /^needs (groff|a C compiler|strace|the shared captures|huge pages|root and \/dev\/kvm)$/,
  /^no C compiler \(gcc, cc, clang\)/,
  /^the C peers are not built/,
  /^the shared folder with QEMU's migration streams is not here$/,
  /^no (tap|bridge|tap interface) can be made here/,
  /^no memory cgroup can be made here/,
  /^swtpm is not installed$/,
];

describe.skipIf(why !== undefined)(`a fresh clone on a bare Debian 12${why === undefined ? "" : ` [${why}]`}`, () => {
  let one: BareDebian;
  let env: Record<string, string>;

  beforeAll(async () => {
    one = await bareDebian("nothing");
    one.addNode({ npm: true });
    env = { ...registryOf(one), CPRKIT_REQUIRE_QEMU: "1", NO_COLOR: "1", npm_config_update_notifier: "false" };
    // What is committed; also of a clone that another user owns.
    execFileSync("git", ["clone", "--quiet", `file://${repoRoot}`, join(one.root, "srv/cprkit")], {
      env: { ...process.env, GIT_CONFIG_COUNT: "1", GIT_CONFIG_KEY_0: "safe.directory", GIT_CONFIG_VALUE_0: "*" },
    });
  }, 600_000);

  afterAll(() => one?.remove(), 300_000);

  /** Runs it in the clone, and tells of it each time `isNews`. @returns all lines */
  async function follow(script: string, isNews: (line: string) => boolean, folder = "/srv/cprkit"): Promise<string[]> {
    const lines: string[] = [];
    const tell = (line: string) => {
      lines.push(line);
      if (isNews(line)) console.info(`${script}: ${line.trim()}`);
    };
    const status = await one.follow(`cd ${folder} && ${script}`, tell, { env, network: true });
    expect({ status, end: status === 0 ? [] : lines.slice(-300) }).toEqual({ status: 0, end: [] });
    return lines;
  }

  it("npm run demo: with a real VM", async () => {
    const lines = await follow("npm run demo", (line) => /: ready/.test(line));
    const text = lines.join("\n");
    expect(text).toContain("installing the packages of package-lock.json");
    expect(text).toMatch(/^10\.0: ready[\s\S]*^11\.1: ready/m);
    expect(text).toMatch(/The guest counted [\d,]+ numbers: none lost, none twice\./);
    expect(text).toMatch(/found 7,530, the same open file 7,530, none leaked in either process/);
    expect(text).not.toContain("could not be had");
    // Again, with all of it there.
    const again = await follow("npm run demo", () => false);
    expect(again.join("\n")).not.toMatch(/installing|fetching/);
  }, 1_200_000);

  it("npm run demo, as a user without rights", async () => {
    const user =
      "setpriv --reuid=1000 --regid=1000 --clear-groups env HOME=/home/plain CPRKIT_CACHE=/srv/cprkit/.cache";
    const script =
      "cp -r /srv/cprkit /home/plain && rm -r /home/plain/.cache && chown -R 1000:1000 /home/plain && cd /home/plain";
    const lines = await follow(`${script} && ${user} npm run demo`, () => false, "/");
    expect(lines.join("\n")).toMatch(/none lost, none twice[\s\S]*none leaked in either process/);
  }, 600_000);

  it("npm test: whole; what is skipped can't be done there", async () => {
    let files = 0;
    const isNews = (line: string) => / (✓|❯) test\//.test(line) && ++files % 20 === 0;
    const lines = await follow("npm test", (line) => isNews(line) || /: ready|^ +(×|Test Files|Tests) /.test(line));
    const reasons = lines.flatMap((line) => /^skipped \d+: (.*)$/.exec(line)?.slice(1) ?? []);
    console.info(`skipped there, each for a reason:\n${reasons.join("\n")}`);
    expect(reasons.filter((reason) => !lacking.some((each) => each.test(reason)))).toEqual([]);
    expect(files).toBeGreaterThan(150);
  }, 7_200_000);
});
