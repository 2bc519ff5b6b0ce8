// The guest's image is what firmware expects of a boot sector, and its builder refuses what it can't encode.
import { expect, it } from "vitest";
import { guestFirmware } from "../../src/cli/demo/guest-firmware.ts";
import { address, assemble, near, short } from "./assemble.ts";
import { bootDisk, bootFirmware, bootSector } from "./boot-sector.ts";

it("is a boot sector: 512 bytes that end in 55 AA", () => {
  const sector = bootSector();
  expect(sector.length).toBe(512);
  expect([...sector.slice(510)]).toEqual([0x55, 0xaa]);
  expect(bootDisk().slice(0, 512)).toEqual(sector);
});

it("is a firmware image of 64 KiB with a jump at the reset vector", () => {
  const image = bootFirmware();
  expect(image.length).toBe(0x10000);
  expect(image[0xfff0]).toBe(0xe9);
});

it("is what the demo has as a constant", () => {
  expect(guestFirmware()).toEqual(bootFirmware());
});

it("encodes distances and addresses, and refuses a far short jump, an unknown label and a number above a byte", () => {
  const lines = [
    "top",
    ["jmp top", 0xeb, short("top")],
    ["call top", 0xe8, near("top")],
    ["dw", address("top")],
  ] as const;
  expect([...assemble(0x100, lines)]).toEqual([0xeb, 0xfe, 0xe8, 0xfb, 0xff, 0x00, 0x01]);
  const padding = ["pad", ...new Array<number>(200).fill(0)] as const;
  expect(() => assemble(0, ["far", padding, ["jmp far", 0xeb, short("far")]])).toThrow(/too far/);
  expect(() => assemble(0, [["jmp", 0xeb, short("none")]])).toThrow(/no label "none"/);
  expect(() => assemble(0, [["db 256", 256]])).toThrow(/"db 256": a byte out of range/);
});
