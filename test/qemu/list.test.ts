// cprkit list: which QEMUs run here, what works for each, and why one could not be asked.
import { spawnSync } from "node:child_process";
import { join } from "node:path";
import { afterEach, expect, it } from "vitest";
import type { ListedVm } from "../../src/qemu/many/list.ts";
import { connectQmp } from "../../src/qemu/qmp/client.ts";
import { cprkit, repoRoot } from "../support/cli.ts";
import { expectSchema } from "../support/json-schema.ts";
import { isRoot, nobody } from "../support/other-user.ts";
import { describeQemu } from "../support/qemu.ts";
import { endAll, startUpdatable } from "./update-support.ts";

afterEach(endAll);

/** A name that moves the cursor, turns the line round, and is wide. */
const evil = "evil\x1b[2J\u202e名前";

/** The list as a user without rights gets it; without that user's right to read this repository. */
function listAsNobody(): readonly ListedVm[] {
  const script = `
    const { listVms } = await import(${JSON.stringify(join(repoRoot, "dist/qemu/many/list.js"))});
    process.setgroups([]);
    process.setegid(${nobody.gid});
    process.seteuid(${nobody.uid});
    console.log(JSON.stringify(await listVms()));`;
  const { stdout, stderr } = spawnSync(process.execPath, ["--input-type=module", "-e", script], { encoding: "utf8" });
  expect(stderr).toBe("");
  return JSON.parse(stdout);
}

describeQemu("cprkit list", ["10.0", "11.1"], (qemu) => {
  const start = (name: string, ram: "memfd" | "plain") =>
    startUpdatable({
      ...{ machine: "pc-q35-10.0", accel: "tcg", qemu: qemu["10.0"], ram },
      extraArgs: () => ["-name", `guest=${name}`],
    });

  it("says what works by preflight's rules, and why a VM could not be asked; nothing is disturbed", async () => {
    const [good, plain, taken] = [await start(evil, "memfd"), await start("plain", "plain"), await start("t", "memfd")];
    // One client a monitor: this one goes on to be served while others ask.
    const held = await connectQmp(taken.qmp);
    const listing = cprkit(["list", "--json", "--qemu", qemu["11.1"]]);
    expect(listing.code).toBe(0);
    expectSchema("list", listing.stdout);
    const vms = JSON.parse(listing.stdout).vms as ListedVm[];
    const of = ({ pid }: { readonly pid: number }) => vms.find((vm) => vm.pid === pid) as ListedVm;
    const uid = process.geteuid?.();
    expect(of(good)).toMatchObject({
      ...{ uid, name: evil, qmp: good.qmp, machine: "pc-q35-10.0", runState: "running", mode: "cpr-transfer" },
      ...{ version: expect.stringMatching(/^10\.0\.\d+$/), fds: expect.any(Number) },
      new: { program: qemu["11.1"], version: expect.stringMatching(/^11\.1\.\d+$/) },
    });
    expect(of(plain).mode).toBeUndefined();
    // The same as preflight says of that VM.
    const asked = cprkit(["preflight", "--pid", String(plain.pid), "--qemu", qemu["11.1"], "--json"]);
    expect(of(plain).ways).toEqual(JSON.parse(asked.stdout).ways);
    expect(of(taken)).toMatchObject({
      fds: expect.any(Number),
      problem: { code: "ERR_TIMEOUT", message: expect.stringContaining("another client holds") },
    });
    expect(of(taken).name).toBeUndefined();
    expect(await held.execute("query-status")).toMatchObject({ status: "running" });
    // The monitor is served to whoever comes next.
    await held.close();

    // For people: nothing of a stranger's name reaches the terminal as it is.
    const shown = cprkit(["update", "--qemu", qemu["11.1"]]);
    expect(shown).toMatchObject({ code: 2, stderr: expect.stringContaining("no VM named") });
    expect(shown.stdout).toMatch(/^ *PID {2}USER .* MODE$/m);
    expect(shown.stdout).toContain("evil\\x1b[2J\\u202e名前");
    expect(shown.stdout).toMatch(new RegExp(`^ *${plain.pid} .* only cpr-reboot, copy$`, "m"));
    expect(shown.stdout).toMatch(new RegExp(`^${plain.pid}: cpr-transfer is blocked by .*memory-not-shared`, "m"));
    const quick = JSON.parse(cprkit(["list", "--json", "--quick"]).stdout).vms as ListedVm[];
    expect(quick.find(({ pid }) => pid === good.pid)).toMatchObject({ name: evil, machine: "pc-q35-10.0" });
    expect(quick.flatMap(({ ways }) => ways ?? [])).toEqual([]);
    expect(quick.find(({ pid }) => pid === taken.pid)).toMatchObject({ name: "t", runState: "running" });

    if (!isRoot) return;
    expect(listAsNobody().find(({ pid }) => pid === good.pid)).toEqual({
      ...{ pid: good.pid, uid, user: "root" },
      problem: { code: "ERR_SYSCALL", message: expect.stringContaining("another user") },
    });
  });
});
