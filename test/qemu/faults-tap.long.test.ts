// Faults at the steps of an update of a guest on a tap, whose monitors' sockets are handed over, too: in whichever QEMU it is
// then, its network works in both directions, the interface is as it was, and its monitors, by UNIX socket and TCP port,
// answer; npm run test:long.
import { connect } from "node:net";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterEach, expect, it } from "vitest";
import { updateModes } from "../../src/qemu/vm/binary.ts";
import { describeQemu } from "../support/qemu.ts";
import { bridgeOrSkip, endOnTaps, startOnTap } from "./bridge.ts";
import { expectedAfter, expectSettled, strike } from "./fault-injection.ts";
import { faultPoints } from "./fault-points.ts";
import { freePort, queryInLoop } from "./loops.ts";

afterEach(endOnTaps);

const rate = 200;
const host = "127.0.0.1";
const kinds: readonly string[] = [
  ...["kill-source", "kill-destination", "hang-destination", "ctrl-c", "disk-full"],
  ...["kill-cprkit, then abort", "kill-cprkit, then resume", "state-disk-full", "state-garbage"],
];
const points = updateModes.flatMap((mode) => faultPoints(mode, false)).filter(({ kind }) => kinds.includes(kind));

describeQemu(
  "faults in an update of a guest on a tap",
  ["10.0", "11.1"],
  (qemu) => {
    for (const point of points) {
      it(`${point.mode}: ${point.kind} at "${point.step}"`, async (context) => {
        const bridge = bridgeOrSkip(context);
        const port = await freePort();
        const program = point.mode === "cpr-exec" ? qemu["11.1"] : qemu["10.0"];
        const more = (dir: string) => [
          ...["-monitor", `unix:${join(dir, "hmp.sock")},server=on,wait=off`],
          ...["-qmp", `tcp:${host}:${port},server=on,wait=off`],
        ];
        const vm = await startOnTap(program, bridge, { more, ram: point.mode === "copy" ? "plain" : "memfd" });
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
        expect((await queryInLoop({ host, port }).end()).states).toEqual(["running"]);
        expect(await infoStatus(join(vm.dir, "hmp.sock"))).toMatch(/running/);
      }, 180_000);
    }
  },
  { linux: true },
);

/** What the human monitor answers. */
function infoStatus(path: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const socket = connect(path, () => socket.write("info status\n"));
    let text = "";
    socket.setTimeout(5_000, () => socket.destroy(new Error(`the monitor does not answer: ${JSON.stringify(text)}`)));
    socket.setEncoding("utf8").on("data", (more: string) => {
      text += more;
      const [, status] = /VM status: (.*)/.exec(text) ?? [];
      if (status === undefined) return;
      resolve(status);
      socket.destroy();
    });
    socket.once("error", reject);
  });
}
