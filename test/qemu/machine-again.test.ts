// A machine that is read again, or like another one of the same program: what is not asked again is what it would have said.

import { describe, expect, it } from "vitest";
import type { Machine } from "../../src/qemu/index.ts";
import { type Reading, type ReadingOptions, readOpenMachine } from "../../src/qemu/machine/read.ts";
import { parseQtree, sameAsBefore } from "../../src/qemu/machine/tree/qtree.ts";
import { openVm } from "../../src/qemu/vm/open.ts";
import { describeQemu } from "../support/qemu.ts";
import { type TestVm, withVm } from "./preflight-support.ts";

/** What two machines of the same kind can differ in: with an id and without, of a card and of its virtio device. */
const devices = (isOther: boolean) =>
  [
    ["-S", "-device", `virtio-balloon-pci,id=balloon,deflate-on-oom=${isOther ? "on" : "off"}`],
    // Without an id, and QEMU does not say which is which.
    ["-device", `virtio-rng-pci,max-bytes=${isOther ? 2048 : 1024},period=1000`],
    ["-device", `virtio-rng-pci,max-bytes=${isOther ? 1024 : 2048},period=1000`],
    ["-device", `pcie-root-port,id=rp,chassis=${isOther ? 7 : 3}`, "-device", "pcie-root-port,id=rp2,chassis=9"],
    ["-netdev", "hubport,hubid=0,id=n0", "-netdev", "hubport,hubid=0,id=n1"],
    ["-device", `virtio-net-pci,id=nic,netdev=n${isOther ? 1 : 0},mac=52:54:00:00:00:07`],
    ["-device", `virtio-serial-pci,id=serial,bus=rp${isOther ? 2 : ""}`],
    ...(isOther ? [["-device", "usb-ehci,id=usb", "-global", "ICH9-LPC.disable_s3=1"]] : []),
  ].flat();

for (const version of ["7.2", "10.0", "11.1"] as const) {
  describeQemu(`a machine read again, QEMU ${version}`, [version], ({ [version]: qemu }) => {
    const withMachine = (isOther: boolean, work: (vm: TestVm) => Promise<void>) =>
      withVm(
        { qemu, args: devices(isOther), ...(version === "7.2" ? { machine: "pc-q35-7.2,memory-backend=ram0" } : {}) },
        work,
      );

    it("is the same as read whole: another one, itself, and itself after changes", async () => {
      await withMachine(false, async (one) => {
        await withMachine(true, async (other) => {
          const before = await read(one, {});
          const whole = await read(other, {});
          const like = await read(other, { before: before.reading });
          expect(still(like)).toEqual(still(whole));
          expect(still(like)).not.toEqual(still(before));
          // An older one would be asked each property of each device.
          if (version === "11.1") expect(whole.asked).toBe(0);
          else expect(like.asked).toBeLessThan(whole.asked * 0.55);

          // Read for a plan only: as much as is known of the one that runs is not asked again.
          const planned = await read(one, { addedOnly: true });
          expect(still(await read(one, { before: planned.reading }))).toEqual(still(before));
          if (version !== "11.1") expect(planned.asked).toBeLessThan(before.asked * 0.8);

          await one.ask(async (qmp) => {
            await qmp.execute("qom-set", {
              ...{ path: "/machine/peripheral/balloon", property: "guest-stats-polling-interval", value: 9 },
            });
            await qmp.execute("netdev_del", { id: "n0" });
            await qmp.execute("device_add", { driver: "virtio-rng-pci", bus: "rp2", id: "late" });
          });
          const changed = await read(one, {});
          const again = await read(one, { before: before.reading });
          expect(still(again)).toEqual(still(changed));
          expect(still(again)).not.toEqual(still(before));
          if (version !== "11.1") expect(again.asked).toBeLessThan(changed.asked * 0.5);
        });
      });
    });
  });
}

/** The machine, without the clock, and how many properties were asked for one by one. */
async function read(vm: TestVm, how: ReadingOptions): Promise<{ readonly reading: Reading; readonly asked: number }> {
  const open = await openVm({ qmp: vm.qmpPath });
  try {
    let asked = 0;
    const execute: typeof open.qmp.execute = (command, ...rest) => {
      if (command === "qom-get") asked += 1;
      return open.qmp.execute(command, ...rest);
    };
    const reading = await readOpenMachine(
      { ...open, qmp: { ...open.qmp, execute } },
      {},
      { switches: "leave out", ...how },
    );
    return { reading, asked };
  } finally {
    await open.qmp.close();
  }
}

function still({ reading }: { readonly reading: Reading }): Machine {
  const { machine } = reading;
  const qom = machine.qom.map((object) => {
    const { "rtc-time": _, date: __, ...properties } = object.properties;
    return { ...object, properties };
  });
  return { ...machine, qom };
}

describe("what two texts of a tree of devices say to be the same", () => {
  const text = (lines: string) => parseQtree(`bus: main-system-bus\n  type System\n${lines}`);
  const object = (path: string, properties: Record<string, unknown>, type = "card") => ({ path, type, properties });
  const told = (
    before: readonly ReturnType<typeof object>[],
    then: string,
    now: string,
    at: Pick<ReturnType<typeof object>, "path" | "type"> = before[0] ?? { path: "", type: "" },
  ) => sameAsBefore(before, text(then), text(now))(at);
  const one = object("/machine/peripheral/a", { size: 5, name: "x", other: 1, hotplugged: false, realized: true });
  const first = '  dev: card, id "a"\n    size = 5 (0x5)\n    name = "x"\n';

  it("options with the same text, and that it works; never what the text does not say", () => {
    expect(told([one], first, first)).toEqual({ size: 5, name: "x", realized: true });
    expect(told([one], first, first.replace("5 (0x5)", "6 (0x6)"))).toEqual({ name: "x", realized: true });
    expect(told([one], first.replaceAll("\n", "\r\n"), first)).toEqual({ size: 5, name: "x", realized: true });
    expect(told([object(one.path, { realized: false })], first, first)).toEqual({});
  });

  it("nothing of one that is elsewhere, of another type, or that only one of them has", () => {
    expect(told([one], first, "")).toEqual({});
    expect(told([one], first, first.replace('"a"', '"b"'))).toEqual({});
    expect(told([one], first, first, { path: one.path, type: "cord" })).toEqual({});
    expect(told([one], first, first, { path: "/machine/peripheral/b", type: "card" })).toEqual({});
    // The second is on no bus.
    const two = [object("/machine/x", { size: 5 }), object("/machine/y", { size: 5 })];
    const nameless = first.replace('"a"', '""');
    expect(told(two, nameless, nameless)).toEqual({});
  });

  it("of several without an id only what is the same in all of them", () => {
    const two = [object("/machine/x", { size: 5, name: "x" }), object("/machine/y", { size: 6, name: "x" })];
    const both = `${first}${first.replace("5 (0x5)", "6 (0x6)")}`.replaceAll('"a"', '""');
    expect(told(two, both, both)).toEqual({ name: "x" });
    expect(told(two, both, both + first.replace('"a"', '""'))).toEqual({});
  });

  it("not a text that goes on in the next line, nor a bus whose name is there twice", () => {
    const long = (rest: string) => `  dev: card, id "a"\n    name = "x\n${rest}"\n`;
    expect(told([object(one.path, { name: "x\ny" })], long("y"), long("z"))).toEqual({});
    const bus = (name: string) =>
      `  dev: hub, id ""\n    bus: ${name}\n      type B\n    ${first.replaceAll("\n", "\n    ")}\n`;
    const on = object(one.path, { parent_bus: "/machine/hub/b.0" });
    expect(told([on], bus("b.0"), bus("b.0"))).toEqual({ parent_bus: "/machine/hub/b.0" });
    expect(told([on], bus("b.0"), bus("b.1"))).toEqual({});
    const twice = `${bus("b.0")}  dev: hub, id ""\n    bus: b.0\n      type B\n`;
    expect(told([on], twice, twice)).toEqual({});
  });

  it("the options of a virtio device also of its card, where they are the same there", () => {
    const card = object("/machine/peripheral/v", { iops: 7, size: 1 });
    const backend = object("/machine/peripheral/v/virtio-backend", { iops: 7, size: 2 }, "device");
    const said =
      '  dev: card, id "v"\n    bus: v\n      type V\n      dev: device, id ""\n        iops = 7 (0x7)\n        size = 2 (0x2)\n';
    expect(told([card, backend], said, said)).toEqual({ iops: 7 });
    expect(told([card, backend], said, said.replace("7 (0x7)", "8 (0x8)"))).toEqual({});
  });
});
