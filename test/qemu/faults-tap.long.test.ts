// Faults at the steps of an update of a guest on a tap: in whichever QEMU it is then, its network works in both directions,
// and the interface is as it was; npm run test:long.
import { setTimeout as sleep } from "node:timers/promises";
import { afterEach, expect, it } from "vitest";
import { describeQemu } from "../support/qemu.ts";
import { bridgeOrSkip, endOnTaps, startOnTap } from "./bridge.ts";
import { expectedAfter, expectSettled, strike } from "./fault-injection.ts";
import { faultPoints } from "./fault-points.ts";

afterEach(endOnTaps);

const rate = 200;
const kinds = ["kill-destination", "kill-cprkit, then abort", "kill-cprkit, then resume", "hang-destination"];
const points = faultPoints("cpr-transfer", false).filter(({ kind }) => kinds.includes(kind));

describeQemu(
  "faults in an update of a guest on a tap",
  ["10.0", "11.1"],
  (qemu) => {
    for (const point of points) {
      it(`${point.kind} at "${point.step}"`, async (context) => {
        const bridge = bridgeOrSkip(context);
        const vm = await startOnTap(qemu["10.0"], bridge, {});
        const before = bridge.tapState();
        const struck = await strike(vm, point, { qemu: qemu["11.1"] });
        expect(struck.struck, `the step was not reached: ${struck.message}`).toBe(true);
        const where = await expectSettled(vm, point, struck);
        if (expectedAfter(point) !== "either") expect(where, struck.message).toBe(expectedAfter(point));
        // The guest is gone, and the tap with it.
        if (where === "lost") return;
        expect(bridge.tapState()).toBe(before);
        const stop = await bridge.startPeer(rate);
        await sleep(1_000);
        const said = await stop();
        expect(said.sent).toBeGreaterThan(rate / 4);
        expect(said.lost.length).toBeLessThan(said.sent / 2);
        expect(said.tcp.lines).toBeGreaterThan(rate / 10);
        expect(said.tcp.wrong).toBe(0);
      }, 180_000);
    }
  },
  { linux: true },
);
