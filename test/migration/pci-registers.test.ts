import { describe, expect, it } from "vitest";
import { readMigrationBytes, walkFields } from "../../src/migration/index.ts";
import { pciCapabilities, pciRegisterAt, pciRegisterName, pciRegisters } from "../../src/migration/pci/registers.ts";
import { listMigrationCaptures } from "./captures.ts";

/** A configuration with MSI-X at 0x98 and a virtio capability at 0x84. */
function configuration(size = 256): Uint8Array {
  const config = new Uint8Array(size);
  config.set([0xf4, 0x1a, 0x41, 0x10]);
  config[6] = 0x10;
  config[0x34] = 0x98;
  config.set([0x11, 0x84, 0x02, 0x80, 0x01], 0x98);
  config.set([0x09, 0x40, 0x14, 0x05], 0x84);
  config.set([0x05, 0x00, 0x80, 0x00], 0x40);
  return config;
}

const nameAt = (offset: number, config?: Uint8Array) => {
  const found = pciRegisterAt(offset, config);
  return found && pciRegisterName(found);
};

describe("PCI configuration by register", () => {
  it("names a byte by its register and capability", () => {
    const config = configuration();
    expect(nameAt(0x9a, config)).toBe("msix/control");
    expect(nameAt(0x9c, config)).toBe("msix/table");
    expect(nameAt(0x8c, config)).toBe("virtio_access/offset");
    expect(nameAt(0x48, config)).toBe("msi/address_high");
    expect(nameAt(0x06, config)).toBe("status");
    expect(nameAt(0x1b, config)).toBe("bar2");
    expect(nameAt(0xe0, config)).toBe("data");
    expect(nameAt(0x2c)).toBe("subsystem_vendor_id");
    expect(nameAt(0x9a)).toBeUndefined();
  });

  it("says which bits QEMU compares", () => {
    const config = configuration();
    // Enable and function mask are the guest's, the table's size is the device's.
    expect(pciRegisterAt(0x9a, config)?.compared).toBe(0x3fffn);
    expect(pciRegisterAt(0x8c, config)?.compared).toBe(0n);
    expect(pciRegisterAt(0x2c, config)?.compared).toBe(0n);
    expect(pciRegisterAt(0x00, config)?.compared).toBe(0xffffn);
  });

  it("ends a list that runs in a circle, or out of the space", () => {
    const config = configuration(4096);
    config[0x41] = 0x98;
    expect(pciCapabilities(config).map(({ name }) => name)).toEqual(["msix", "virtio_access", "msi"]);
    config.set([0x01, 0x00, 0x02, 0x10], 0x100);
    expect(pciCapabilities(config).map(({ name }) => name)).toEqual(["msix", "virtio_access", "msi", "aer"]);
    config.set([0x01, 0x00, 0xf2, 0xff], 0x100);
    expect(pciCapabilities(config)).toHaveLength(4);
    config[0x34] = 0xff;
    expect(pciCapabilities(config).map(({ name }) => name)).toEqual(["aer"]);
  });

  it("covers every recorded configuration without a gap", () => {
    let count = 0;
    for (const { bytes, offset } of listMigrationCaptures()) {
      for (const { fields, device, bodyOffset } of readMigrationBytes(bytes, { offset }).sections) {
        for (const { field } of walkFields(fields)) {
          if (field.type !== "pci config" || device === undefined) continue;
          const start = field.offset - bodyOffset;
          const config = device.body.subarray(start, start + field.size);
          count += 1;
          let at = 0;
          for (const register of pciRegisters(config)) {
            expect(register.offset).toBe(at);
            at += register.size;
          }
          expect(at).toBe(config.length);
          expect(pciCapabilities(config).filter(({ name }) => /capability|extended/.test(name))).toEqual([]);
        }
      }
    }
    expect(count).toBeGreaterThan(10);
  });
});
