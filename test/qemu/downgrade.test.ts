// Back from QEMU 11.1 to 10.0, under a running guest: refused by QEMU alone, done with a tap that writes for 10.0.
import { expect, it } from "vitest";
import { loadCprState } from "../../src/cpr/index.ts";
import { tap } from "../../src/qemu/index.ts";
import { expectNoFdLeak } from "../support/fds.ts";
import { describeQemu } from "../support/qemu.ts";
import {
  endAll,
  expectStayed,
  freshPaths,
  migrate,
  startDestination,
  startSource,
  updateThroughTap,
} from "./tap-support.ts";

describeQemu("11.1 to 10.0", ["10.0", "11.1"], (qemu) => {
  const options = { from: qemu["11.1"], to: qemu["10.0"] };

  it("counts on through a tap for 10.0", async () => {
    const { result } = await updateThroughTap(options, (listen, connect) =>
      tap({ listen, connect, forVersion: "10.0" }),
    );
    // 28 bytes less: the subsection that 10.0 does not know.
    expect(result.sent).toHaveLength(result.received.length - 28);
    expect(loadCprState({ bytes: result.received }).state.vfioDevices).toEqual({ devices: [] });
    expect(loadCprState({ bytes: result.sent }).state.vfioDevices).toBeUndefined();
    expect(result.fds.map(({ name }) => name)).toContain("ram0");
  });

  for (const through of ["a tap that changes nothing", "no tap"] as const) {
    it(`is refused by 10.0 with ${through}, and the guest stays where it is`, () =>
      expectNoFdLeak(async () => {
        const paths = freshPaths();
        const source = await startSource(options);
        const destination = await startDestination(options, paths);
        try {
          const tapped = through === "no tap" ? undefined : tap({ listen: paths.tap, connect: paths.cpr });
          await migrate(source.qmp, paths.main, tapped === undefined ? paths.cpr : paths.tap);
          expect(await destination.exited).toEqual({ code: 1, signal: null });
          expect(destination.stderr()).toContain("vmstate_load_state error -2");
          if (tapped !== undefined) expect(await tapped).toMatchObject({ hungUpBy: "destination" });
          expect(await expectStayed(source, destination)).not.toBe("");
        } finally {
          await endAll(source, destination);
        }
      }));
  }
});
