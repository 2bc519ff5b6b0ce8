// A cprkit process between two real QEMUs, as itself: it takes the fds of the old one, and a new one, started only
// then, boots on with the state that cprkit wrote.
import { expect, it } from "vitest";
import { startChild } from "../channel/support.ts";
import { expectNoFdLeak } from "../support/fds.ts";
import { type CprQemu, describeQemu } from "../support/qemu.ts";
import type { Vm } from "../support/vm.ts";
import {
  endAll,
  expectMoved,
  expectStayed,
  freshPaths,
  migrate,
  startDestination,
  startSource,
} from "./tap-support.ts";

const nothingLeaked = { surplus: [], lost: [] };
const moves: readonly (readonly [CprQemu, CprQemu])[] = [
  ["10.0", "10.0"],
  ["10.0", "11.1"],
  ["11.1", "11.1"],
  // cprkit's own stream has no subsection, so this way back works as well.
  ["11.1", "10.0"],
];

interface Entry {
  readonly name: string;
  readonly id: number;
  readonly fd: number;
  readonly what: string;
  readonly closeOnExec: boolean;
}

describeQemu("a cprkit process takes QEMU's fds and gives them to another", ["10.0", "11.1"], (qemu) => {
  for (const [from, to] of moves) {
    it(`${from} to ${to}, 16 fds per message`, () =>
      expectNoFdLeak(async () => {
        const options = { from: qemu[from], to: qemu[to], extraBackends: 40 };
        const paths = freshPaths();
        const source = await startSource(options);
        const relay = startChild("relay", { listen: paths.tap, connect: paths.cpr, fdsPerMessage: 16 });
        let destination: Vm | undefined;
        try {
          await source.vm.listening(paths.tap);
          await migrate(source.qmp, paths.main, paths.tap);
          const entries = await relay.next<Entry[]>();
          expect(entries).toHaveLength(46);
          expect(entries.find(({ name }) => name === "ram0")?.what).toBe("memfd:memory-backend-memfd");
          expect(entries.map(({ closeOnExec }) => closeOnExec)).not.toContain(false);

          // The old QEMU waits for the hang-up and runs the guest meanwhile; only now there is a new one.
          expect(await source.qmp.execute("query-migrate")).toMatchObject({ status: "setup" });
          await source.vm.serial.waitForMore(20, 10_000);
          destination = await startDestination(options, paths);
          relay.tell("send");
          expect(await relay.next()).toMatchObject({ fds: 46, messages: Math.ceil(46 / 16) + 1 });
          expect(await relay.next()).toEqual({ leaked: nothingLeaked });
          await expectMoved(source, destination);
          expect(await relay.exited).toBe(0);
        } finally {
          await relay.kill();
          await endAll(source, destination);
        }
      }));
  }

  it("dies with them: the guest stays in the old QEMU, and a later update succeeds", () =>
    expectNoFdLeak(async () => {
      const options = { from: qemu["10.0"], to: qemu["10.0"] };
      const paths = freshPaths();
      const source = await startSource(options);
      const relay = startChild("relay", { listen: paths.tap, connect: paths.cpr, fdsPerMessage: 16 });
      let destination: Vm | undefined;
      try {
        await source.vm.listening(paths.tap);
        await migrate(source.qmp, paths.main, paths.tap);
        await relay.next();
        await relay.kill();
        expect(await expectStayed(source)).toContain(paths.main);
        destination = await startDestination(options, paths);
        await migrate(source.qmp, paths.main, paths.cpr);
        await expectMoved(source, destination);
      } finally {
        await relay.kill();
        await endAll(source, destination);
      }
    }));

  for (const to of ["10.0", "11.1"] as const) {
    it(`with 17 fds per message instead, ${to} loses some: 16 is the limit, and the guest stays where it is`, () =>
      expectNoFdLeak(async () => {
        const options = { from: qemu["10.0"], to: qemu[to], extraBackends: 40 };
        const paths = freshPaths();
        const source = await startSource(options);
        const relay = startChild("relay", { listen: paths.tap, connect: paths.cpr, fdsPerMessage: 17, hold: true });
        let destination: Vm | undefined;
        try {
          await source.vm.listening(paths.tap);
          await migrate(source.qmp, paths.main, paths.tap);
          await relay.next();
          destination = await startDestination(options, paths);
          relay.tell("send");
          if (to === "10.0") {
            expect(await destination.exited).toEqual({ code: 1, signal: null });
          } else {
            // 11.1 hangs up and says why, but starts all the same and listens on the main channel: an old QEMU that is
            // told of the hang-up after that would give it the guest. So it is ended before.
            await destination.listening(paths.main, 30_000);
            expect(destination.stderr()).toContain("no FD come with service byte");
            await destination.kill();
          }
          relay.tell("hang up");
          expect(await expectStayed(source, destination)).toContain(paths.main);
        } finally {
          await relay.kill();
          await endAll(source, destination);
        }
      }));
  }
});
