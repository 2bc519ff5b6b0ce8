// Twenty updates, there and back, under clients that connect in a loop: nobody is refused, no path is missing, and nobody
// gets to a new QEMU before the guest does; npm run test:long.
import { afterEach, expect, it } from "vitest";
import { updateVm } from "../../src/qemu/update/update.ts";
import { describeQemu } from "../support/qemu.ts";
import { assertContiguous } from "../support/serial-log.ts";
import { freePort, queryInLoop, visitInLoop } from "./loops.ts";
import { endAll, startPlain } from "./update-support.ts";

afterEach(endAll);

const host = "127.0.0.1";
const updates = 20;

describeQemu("twenty updates under clients that connect in a loop", ["10.0", "11.1"], (qemu) => {
  it("a QMP socket, a QMP port and a serial port", async () => {
    const [monitor, serial] = [await freePort(), await freePort()];
    const vm = await startPlain(qemu["10.0"], () => [
      ...["-qmp", `tcp:${host}:${monitor},server=on,wait=off`],
      ...["-serial", `tcp:${host}:${serial},server=on,wait=off`],
    ]);
    const clients = {
      socket: queryInLoop({ path: vm.qmp }),
      port: queryInLoop({ host, port: monitor }),
      serial: visitInLoop({ host, port: serial }),
    };
    const downtimes: number[] = [];
    for (let at = 0; at < updates; at++) {
      const to = at % 2 === 0 ? "11.1" : "10.0";
      const report = await updateVm({ qmp: vm.qmp }, { qemu: qemu[to], stateDir: vm.stateDir });
      downtimes.push(report.downtimeMs ?? 0);
    }
    for (const [name, client] of Object.entries(clients)) {
      const { count, refused, states } = await client.end();
      const told = states.filter((state) => state !== "").length;
      console.log(`${name}: ${count} connections, ${refused.length} refused; told the run state: ${told}`);
      expect(refused).toEqual([]);
      expect(count).toBeGreaterThan(updates);
      expect(states).not.toContain("inmigrate");
    }
    console.log(`downtimes: ${downtimes.map((ms) => ms.toFixed(1)).join(" ")} ms`);
    await vm.serial.waitForMore(3, 10_000);
    assertContiguous(vm.serial);
  }, 600_000);
});
