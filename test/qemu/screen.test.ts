// What is told of real VMs fits the terminal's width; where no terminal is nothing is cut.
import { afterEach, expect, it } from "vitest";
import { cprkit } from "../support/cli.ts";
import { describeQemu } from "../support/qemu.ts";
import { expectFits, noScreen, onScreen, words } from "../support/screen.ts";
import { endAll, startUpdatable } from "./update-support.ts";

afterEach(endAll);

describeQemu("on a terminal", ["10.0", "11.1"], (qemu) => {
  it("list, fds, preflight, status, an update of two VMs", async (context) => {
    context.skip(noScreen !== undefined, noScreen);
    const start = (ram: "memfd" | "plain") =>
      startUpdatable({ machine: "pc-q35-10.0", accel: "tcg", qemu: qemu["10.0"], ram });
    const [good, plain] = [await start("memfd"), await start("plain")];
    const fds = ["fds", "--pid", String(good.pid)];
    const preflight = ["preflight", "--qmp", plain.qmp, "--qemu", qemu["11.1"]];
    const status = ["status", "--qmp", good.qmp, "--state-dir", good.stateDir];
    const list = ["list", "--qemu", qemu["11.1"]];
    const update = ["update", "--qmp", good.qmp, "--qmp", plain.qmp, "--qemu", qemu["11.1"]];

    const whole = cprkit(fds).stdout;
    expect(whole).not.toContain("…");
    const [narrow, asked, listed, told] = await onScreen(60, [fds, preflight, list, status]);
    for (const each of [narrow, asked, listed, told]) expectFits(each?.lines ?? ["none"], 60);
    expect(narrow?.lines.some((line) => line.includes("…"))).toBe(true);
    for (const screen of [asked, listed]) {
      const codes = screen?.links.map((link) => link.replace(/^.*\/docs\//, ""));
      expect(codes).toContain("preflight.md#memory-not-shared");
    }
    expect(words(told?.lines ?? [])).toEqual(words(cprkit(status).stdout));
    expect(told?.lines.length).toBeGreaterThan(1);

    const [usual] = await onScreen(80, [fds]);
    expectFits(usual?.lines ?? ["none"], 80);
    // Each row is there; those of what CPR carries do not come and go.
    const carried = (lines: readonly string[]) =>
      lines.flatMap((line) => /^ *(\d+) {2}.* carried /.exec(line)?.[1] ?? []);
    expect(carried(whole.split("\n")).length).toBeGreaterThan(3);
    for (const each of [narrow, usual]) expect(carried(each?.lines ?? [])).toEqual(carried(whole.split("\n")));
    const [wide] = await onScreen(200, [fds]);
    expectFits(wide?.lines ?? ["none"], 200);
    expect(wide?.lines.some((line) => line.includes("…"))).toBe(false);
    const [done] = await onScreen(60, [update]);
    expectFits(done?.lines ?? ["none"], 60);
    expect(done?.lines.map((line) => line.split(" ").at(-1))).toEqual(["OUTCOME", "updated", "failed"]);
  });
});
