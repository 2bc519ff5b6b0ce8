// The tap between two real QEMUs: the guest counts on, every fd is named, and nothing is left behind.
import { join } from "node:path";
import { expect, it } from "vitest";
import { loadCprState } from "../../src/cpr/index.ts";
import { readFdInfo } from "../../src/linux/index.ts";
import { type PassedState, type TapResult, tap } from "../../src/qemu/index.ts";
import { describeQemu } from "../support/qemu.ts";
import { updateThroughTap } from "./tap-support.ts";

/** What a q35 machine with our firmware hands over, in the order of 10.0's stream: newest first. */
const q35 = [
  ["/rom@etc/acpi/rsdp", "memfd:/rom@etc/acpi/rsdp"],
  ["/rom@etc/table-loader", "memfd:/rom@etc/table-loader"],
  ["/rom@etc/acpi/tables", "memfd:/rom@etc/acpi/tables"],
  ["pc.rom", "memfd:pc.rom"],
  ["pc.bios", "memfd:pc.bios"],
  ["ram0", "memfd:memory-backend-memfd"],
];

const named = ({ fds }: PassedState) => fds.map(({ name, what }) => [name, what]);

describeQemu("tap", ["10.0", "11.1"], (qemu) => {
  it("10.0 to 10.0: passes every byte and fd on as they came", async () => {
    const { result } = await updateThroughTap({ from: qemu["10.0"], to: qemu["10.0"] });
    expect(named(result)).toEqual(q35);
    expect(result.fds.map(({ id }) => id)).toEqual(q35.map(() => 0));
    expect(result).toMatchObject({ abi: "list", warnings: [], nonblockRestored: 0 });
    expect(Buffer.compare(result.received, result.sent)).toBe(0);
    expect(loadCprState({ bytes: result.received }).state.size).toBe(q35.length);
  });

  it("10.0 to 11.1, of the machine type that both have", async () => {
    const { result } = await updateThroughTap({ from: qemu["10.0"], to: qemu["11.1"] });
    expect(named(result)).toEqual(q35);
  });

  it("11.1 to 11.1, on a pc and a microvm", async () => {
    for (const machine of ["pc-i440fx-10.0", "microvm"]) {
      const { result } = await updateThroughTap({ from: qemu["11.1"], to: qemu["11.1"], machine });
      expect(result.fds.map(({ name }) => name)).toContain("ram0");
      expect(loadCprState({ bytes: result.sent }).state.vfioDevices).toEqual({ devices: [] });
    }
  });

  it("10.0 to 10.0 with 540 memory backends", async () => {
    const { result } = await updateThroughTap({ from: qemu["10.0"], to: qemu["10.0"], extraBackends: 540 });
    expect(result.fds).toHaveLength(q35.length + 540);
    expect(new Set(result.fds.map(({ name }) => name)).size).toBe(q35.length + 540);
    for (let index = 0; index < 540; index++) expect(result.fds.map(({ name }) => name)).toContain(`extra${index}`);
  });

  it("10.0 to 10.0 through two taps, with the hash ABI between them", async () => {
    const options = { from: qemu["10.0"], to: qemu["10.0"], extraBackends: 40 };
    let first: TapResult | undefined;
    const { result } = await updateThroughTap(options, async (listen, connect, dir) => {
      const between = join(dir, "between.sock");
      const [one, two] = await Promise.all([
        tap({ listen, connect: between, to: "hash" }),
        tap({ listen: between, connect, to: "list" }),
      ]);
      first = one;
      return two;
    });
    expect(first).toMatchObject({ abi: "list", hungUpBy: "destination" });
    expect(result.abi).toBe("hash");
    expect(named(result)).toEqual(named(first as TapResult));
    expect(result.fds).toHaveLength(q35.length + 40);
    expect(Buffer.compare(result.received, first?.sent ?? new Uint8Array())).toBe(0);
    expect(loadCprState({ bytes: result.received }).abi).toBe("hash");
    // What went in came out: the same list, byte for byte.
    expect(Buffer.compare(result.sent, first?.received ?? new Uint8Array())).toBe(0);
  });

  it("shows the fds while they are open, close-on-exec, before the new QEMU is ready", async () => {
    let seen: unknown;
    await updateThroughTap({ from: qemu["10.0"], to: qemu["10.0"] }, (listen, connect) => {
      const onState = (passed: PassedState) => {
        seen = passed.fds.map(({ fd }) => readFdInfo("self", fd).closeOnExec);
      };
      return tap({ listen, connect, onState });
    });
    expect(seen).toEqual(q35.map(() => true));
  });
});
