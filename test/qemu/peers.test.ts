// An update talks to the two QEMUs that it knows, and to no other process of their user.
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, describe, expect, it } from "vitest";
import { receiveCprState, sendCprState } from "../../src/channel/index.ts";
import { CprState } from "../../src/cpr/index.ts";
import { closeFds, processIdentity } from "../../src/linux/index.ts";
import type { CprModeName } from "../../src/qemu/index.ts";
import { tap } from "../../src/qemu/tap.ts";
import { findMarked } from "../../src/qemu/update/peers/marked.ts";
import { readJournal } from "../../src/qemu/update/record/journal.ts";
import { updateVm } from "../../src/qemu/update/update.ts";
import { failure, memfdState } from "../channel/support.ts";
import { expectNoFdLeak } from "../support/fds.ts";
import { describeQemu } from "../support/qemu.ts";
import { assertContiguous } from "../support/serial-log.ts";
import { freshPaths } from "./tap-support.ts";
import { endAll, runStates, startPlain, type Updatable } from "./update-support.ts";

afterEach(endAll);

describe("the tap, told which processes are the QEMUs", () => {
  const [own, other] = [processIdentity("self"), processIdentity(process.ppid)];

  it("passes a state between them", () =>
    expectNoFdLeak(async () => {
      const paths = freshPaths();
      const { state, fds } = memfdState(2);
      const tapped = tap({ listen: paths.tap, connect: paths.cpr, source: own, destination: own });
      const receiving = receiveCprState(paths.cpr);
      const sent = await sendCprState(paths.tap, state, { waitForListener: true });
      const { state: taken, hangUp } = await receiving;
      hangUp();
      await sent.hungUp();
      await tapped;
      closeFds([...fds, ...taken.entries().map(({ fd }) => fd)]);
    }));

  it("takes nothing from another process in the old one's place", () =>
    expectNoFdLeak(async () => {
      const paths = freshPaths();
      const tapped = failure(tap({ listen: paths.tap, connect: paths.cpr, source: other, destination: own }));
      const sent = await sendCprState(paths.tap, new CprState(), { waitForListener: true });
      expect(await tapped).toMatchObject({ code: "ERR_PEER_CREDENTIALS" });
      await sent.hungUp();
    }));

  it("gives nothing to another process in the new one's place", () =>
    expectNoFdLeak(async () => {
      const paths = freshPaths();
      const { state, fds } = memfdState(2);
      const tapped = failure(tap({ listen: paths.tap, connect: paths.cpr, source: own, destination: other }));
      const receiving = failure(receiveCprState(paths.cpr));
      const sent = await sendCprState(paths.tap, state, { waitForListener: true });
      expect(await tapped).toMatchObject({ code: "ERR_PEER_CREDENTIALS" });
      expect(await receiving).toMatchObject({ code: "ERR_EOF" });
      await sent.hungUp();
      closeFds(fds);
    }));
});

describeQemu("cprkit update, when another process is where a QEMU should be", ["10.0", "11.1"], (qemu) => {
  /** The update fails so, the guest goes on in the old QEMU, and no process of the update is left. */
  async function expectRefused(vm: Updatable, program: string, mode: CprModeName, text: RegExp): Promise<void> {
    let id = "";
    const update = updateVm(
      { qmp: vm.qmp },
      {
        stateDir: vm.stateDir,
        qemu: program,
        mode,
        timeoutMs: 20_000,
        onStep: () => {
          id ||= readJournal(join(vm.stateDir, "qmp.sock"))?.id ?? "";
        },
      },
    );
    await expect(update).rejects.toThrow(text);
    expect(await runStates(vm)).toEqual(new Map([[vm.pid, "running"]]));
    expect(findMarked(id)).toEqual([]);
    await vm.serial.waitForMore(5, 10_000);
    assertContiguous(vm.serial);
  }

  function wrapper(vm: Updatable, body: string): string {
    const path = join(vm.dir, "wrapper");
    writeFileSync(path, `#!/bin/sh\n${body}\n`, { mode: 0o755 });
    return path;
  }

  it("the new program starts another one and stays: that one is not what cprkit has started", async () => {
    const vm = await startPlain(qemu["10.0"]);
    const program = wrapper(vm, `"${qemu["11.1"]}" "$@" <&0 & wait $!`);
    await expectRefused(
      vm,
      program,
      "cpr-transfer",
      /expected process \d+, found process \d+; a wrapper must become its/,
    );
    await expectRefused(vm, program, "cpr-reboot", /is served by process \d+, not by \d+/);
  });

  it("a third process sits between cprkit and the new QEMU's monitor", async () => {
    const vm = await startPlain(qemu["10.0"]);
    const real = join(vm.dir, "real.sock");
    // QEMU may listen later than this does.
    const between = `const { connect, createServer } = require("node:net");
    createServer((client) => {
      client.on("error", () => {}).on("close", () => process.exit());
      const dial = () => {
        const qemu = connect(process.argv[2]);
        qemu.on("error", () => setTimeout(dial, 5));
        qemu.on("connect", () => {
          qemu.on("close", () => process.exit());
          client.pipe(qemu).pipe(client);
        });
      };
      dial();
    }).listen(process.argv[1]);`;
    writeFileSync(
      join(vm.dir, "between.cjs"),
      between.replace("process.argv[2]", "process.argv[3]").replace("process.argv[1]", "process.argv[2]"),
    );
    const program = wrapper(
      vm,
      `n=$#
while [ $n -gt 0 ]; do
  word=$1; shift; n=$((n - 1))
  case "$word" in socket,id=cprkit-qmp,path=*)
    path=\${word#*path=}
    "${process.execPath}" ${join(vm.dir, "between.cjs")} "\${path%%,*}" ${real} </dev/null >/dev/null 2>&1 &
    word="socket,id=cprkit-qmp,path=${real},server=on,wait=off"
  esac
  set -- "$@" "$word"
done
exec "${qemu["11.1"]}" "$@"`,
    );
    await expectRefused(vm, program, "cpr-reboot", /is served by process \d+, not by \d+/);
    await expectRefused(vm, program, "cpr-transfer", /is served by process \d+, not by \d+/);
  });
});
