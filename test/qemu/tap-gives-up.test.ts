// Whoever gives up while an old QEMU still sends its CPR state lets it finish first: 11.1 dies, and its guest with it, of
// a channel that breaks at that moment. Without that most of these rounds end a QEMU.
import { afterEach, expect, it } from "vitest";
import { receiveCprState } from "../../src/channel/index.ts";
import { acceptUnix, closeFd, listenUnix } from "../../src/linux/index.ts";
import { tap } from "../../src/qemu/index.ts";
import { refuse } from "../support/kernel-answers.ts";
import { describeQemu } from "../support/qemu.ts";
import { killAllVms } from "../support/vm.ts";
import { endAll, expectStayed, freshPaths, migrate, type Paths, startSource } from "./tap-support.ts";

afterEach(killAllVms);

/** Each begins to wait for the old QEMU, and gives up when it has come. */
const ways: Record<string, (paths: Paths) => Promise<unknown>> = {
  "the new QEMU hangs up": async (paths) => {
    const listener = listenUnix(paths.cpr);
    const tapped = tap({ listen: paths.tap, connect: paths.cpr });
    const socket = await Promise.race([acceptUnix(listener.fd), tapped]);
    if (typeof socket === "number") closeFd(socket);
    listener.close();
    return tapped;
  },
  "the user interrupts it": (paths) => {
    const abort = new AbortController();
    const { signal } = abort;
    return tap({ listen: paths.tap, connect: paths.cpr, signal, onSource: () => abort.abort() });
  },
  "another user was to be expected": (paths) =>
    tap({ listen: paths.tap, connect: paths.cpr, peerUid: 12_345, timeoutMs: 1_000 }),
  "it may not accept": (paths) => {
    const again = refuse("accept");
    return tap({ listen: paths.tap, connect: paths.cpr }).finally(again);
  },
  "it may not wait": (paths) => {
    const again = refuse("epollReady");
    return tap({ listen: paths.tap, connect: paths.cpr }).finally(again);
  },
  "a receiver takes less than it gets": (paths) => receiveCprState(paths.tap, { maxBytes: 100 }),
};

describeQemu("the old QEMU runs on when", ["10.0", "11.1"], (qemu) => {
  for (const version of ["10.0", "11.1"] as const) {
    it(`${version}: whatever ends the hand-over early`, { timeout: 60_000 }, async () => {
      const source = await startSource({ from: qemu[version], to: qemu[version], extraBackends: 40 });
      try {
        for (const [way, begin] of Object.entries(ways)) {
          // Each round is one of luck.
          for (let round = 0; round < 3; round++) {
            const paths = freshPaths();
            // The new QEMU may have hung up when all had passed.
            const given = begin(paths).catch(() => undefined);
            await source.vm.listening(paths.tap).catch(() => undefined);
            // The last one may be on its way to "cancelled".
            await expect
              .poll(async () => (await source.qmp.execute("query-migrate")).status ?? "")
              .not.toMatch(/ing$|active/);
            await migrate(source.qmp, paths.main, paths.tap).catch(() => undefined);
            await source.qmp.execute("migrate_cancel").catch(() => undefined);
            await given;
            expect([way, source.vm.process.exitCode, source.vm.process.signalCode]).toEqual([way, null, null]);
          }
        }
        await expectStayed(source);
      } finally {
        await endAll(source);
      }
    });
  }
});
