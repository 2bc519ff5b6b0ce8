// Work with another user's rights: what the kernel refuses half-way is given back, or the process ends.
import { spawnSync } from "node:child_process";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { repoRoot } from "../support/cli.ts";
import { isRoot } from "../support/other-user.ts";

/** Runs asUser in a process of its own in which the kernel refuses one of the calls, by its place in their order. */
function runAsUser(refused: number) {
  const module = join(repoRoot, "dist/qemu/vm/as-user.js");
  const script = `
    let number = 0;
    for (const name of ["setgroups", "setegid", "seteuid"]) {
      const real = process[name];
      process[name] = (...args) => {
        if (number++ === ${refused}) throw Object.assign(new Error("EPERM: " + name), { code: "EPERM" });
        return real.apply(process, args);
      };
    }
    const { asUser } = await import(${JSON.stringify(module)});
    const rights = () => [process.geteuid(), process.getegid(), process.getgroups()];
    const before = rights();
    let inside, thrown;
    try {
      asUser({ uid: 65534, gid: 65533, groups: [65532] }, () => { inside = rights(); });
    } catch (error) {
      thrown = [error.code, error.message];
    }
    console.log(JSON.stringify({ before, inside, thrown, after: rights() }));`;
  const { status, stdout, stderr } = spawnSync(process.execPath, ["--input-type=module", "-e", script], {
    encoding: "utf8",
  });
  return { status, stderr, said: stdout === "" ? undefined : JSON.parse(stdout) };
}

if (!isRoot) console.warn("skipped: work as another user: only root can take another user's rights");
describe.skipIf(!isRoot)("work as another user [needs root]", () => {
  it("has that user's rights, and afterwards ours again", () => {
    const { status, said } = runAsUser(-1);
    expect(status).toBe(0);
    expect(said.inside).toEqual([65534, 65533, expect.arrayContaining([65532])]);
    expect(said.inside[2]).not.toContain(0);
    expect(said.after).toEqual(said.before);
  });

  for (const call of ["setgroups", "setegid", "seteuid"] as const) {
    it(`is not begun when ${call} is refused, and the rights are ours again`, () => {
      const first = { setgroups: 0, setegid: 1, seteuid: 2 }[call];
      const { status, said } = runAsUser(first);
      expect(status).toBe(0);
      expect(said.inside).toBeUndefined();
      expect(said.thrown).toEqual(["ERR_SYSCALL", expect.stringContaining(`EPERM: ${call}`)]);
      expect(said.after).toEqual(said.before);
    });

    it(`ends the process when ${call} does not give our own back`, () => {
      const back = { seteuid: 3, setegid: 4, setgroups: 5 }[call];
      const { status, said, stderr } = runAsUser(back);
      expect({ status, said }).toEqual({ status: 4, said: undefined });
      expect(stderr).toMatch(/cprkit ends: the kernel does not give it its own user and groups back/);
    });
  }
});
