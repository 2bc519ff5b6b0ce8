// Streams of QEMU 11.1 with passed-through devices, recorded under KVM in the emulated host (docs/lab.md).
import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { loadCprState, saveCprState } from "../../src/cpr/index.ts";
import { encodeMigration, readMigrationBytes } from "../../src/migration/index.ts";
import { countInterrupts } from "../../src/qemu/fds/vfio.ts";

const read = (file: string) => new Uint8Array(readFileSync(new URL(`../fixtures/vfio/${file}`, import.meta.url)));

/** What was seen of each when it was recorded. */
const seen = [
  { file: "vfio-group-e1000e-kvm-11.1", bytes: 403, fds: 13, vectors: 0, devices: ["0000:01:00.0"] },
  { file: "vfio-group-exec-2dev-kvm-11.1", bytes: 687, fds: 20, vectors: 0, devices: ["0000:01:00.0", "0000:03:00.0"] },
  {
    ...{ file: "vfio-group-6dev-kvm-11.1", bytes: 1378, fds: 44, vectors: 0 },
    devices: ["0000:00:0d.0", "0000:00:0e.0", "0000:01:00.0", "0000:02:00.0", "0000:03:00.0", "0000:05:00.0"],
  },
  {
    ...{ file: "vfio-group-4dev-msix144-kvm-11.1", bytes: 10_863, fds: 314, vectors: 144 },
    devices: ["0000:01:00.0", "0000:02:00.0", "0000:03:00.0", "0000:05:00.0"],
  },
  {
    ...{ file: "vfio-group-2dev-msix70-generation1-kvm-11.1-linux7.3", bytes: 5381, fds: 156, vectors: 70 },
    devices: ["0000:01:00.0", "0000:03:00.0"],
  },
  {
    ...{ file: "vfio-iommufd-2dev-msix70-kvm-11.1-linux7.3", bytes: 5348, fds: 153, vectors: 70 },
    devices: ["0000:01:00.0", "0000:03:00.0"],
  },
];

describe.each(seen)("$file", ({ file, bytes: length, fds, vectors, devices }) => {
  const bytes = read(`${file}.bin`);
  const isExec = file.includes("exec");
  const loaded = loadCprState({ bytes });
  const entries = loaded.state.entries();
  const named = (end: string) => entries.filter(({ name }) => name.endsWith(end));

  it("is read: its fds, vectors and devices", () => {
    expect(bytes.length).toBe(length);
    expect({ abi: loaded.abi, fdForm: loaded.fdForm, warnings: loaded.warnings }).toEqual({
      ...{ abi: "list", fdForm: isExec ? "number" : "passed", warnings: [] },
    });
    expect(entries.length).toBe(fds);
    // Each vector has its own id.
    const interrupts = entries.filter(({ name }) => /:\d\d\.0_interrupt$|\.\d_interrupt$/.test(name));
    expect(interrupts.length).toBe(vectors);
    expect(named("_kvm_interrupt").length).toBe(vectors);
    expect(entries.flatMap(({ name }) => (/^[0-9a-f:]+\.\d$/.test(name) ? name : [])).toSorted()).toEqual(devices);
    const isIommufd = file.includes("iommufd");
    expect(named("vfio_group").length === 0).toBe(isIommufd);
    expect(named("iommufd0").length).toBe(isIommufd ? 1 : 0);
    for (const { name, id, fd } of entries) expect(loaded.state.findFd(name, id)).toBe(fd);
  });

  it("is written to the same bytes, by way of the hash ABI and as QEMU 10.1 reads it, too", () => {
    expect(saveCprState(loaded.state, { fdForm: loaded.fdForm }).bytes).toEqual(bytes);
    const hash = saveCprState(loaded.state, { abi: "hash", fdForm: loaded.fdForm });
    const again = loadCprState({ bytes: hash.bytes });
    expect(again.abi).toBe("hash");
    expect(again.state.entries()).toEqual(entries);
    expect(saveCprState(again.state, { fdForm: loaded.fdForm }).bytes).toEqual(bytes);
  });

  it("has the interrupts that cprkit would count, or at most one fewer for each device", () => {
    const table = entries.flatMap(({ name, id }) => {
      const device = /^(.*)_(interrupt|intx-interrupt)$/.exec(name);
      if (device === null || name.endsWith("_kvm_interrupt")) return [];
      return device[2] === "interrupt" ? `vfio-msix[${id}](${device[1]})` : `vfio-intx(${device[1]})`;
    });
    const notifiers = entries.filter(({ name }) =>
      /_(interrupt|kvm_interrupt|intx-\w+|err_notifier|req_notifier)$/.test(name),
    );
    const counted = countInterrupts(table.join("\n"), devices, true);
    expect(counted).toBeGreaterThanOrEqual(notifiers.length);
    expect(counted).toBeLessThanOrEqual(notifiers.length + devices.length);
  });
});

describe("what is of note", () => {
  it("the devices of iommufd are in the subsection, with the ids of its objects", () => {
    const { state } = loadCprState({ bytes: read("vfio-iommufd-2dev-msix70-kvm-11.1-linux7.3.bin") });
    expect(state.vfioDevices?.devices).toMatchObject([
      { name: "0000:03:00.0", devid: 4, ioasId: 2, hwptId: 3 },
      { name: "0000:01:00.0", devid: 1, ioasId: 2, hwptId: 3 },
    ]);
  });

  it("one container has a name for each of its groups, by cpr-exec the same number", () => {
    const { state } = loadCprState({ bytes: read("vfio-group-exec-2dev-kvm-11.1.bin") });
    const containers = state.entries().filter(({ name }) => name === "vfio_container_for_group");
    expect(containers).toEqual([
      { name: "vfio_container_for_group", id: 12, fd: 27 },
      { name: "vfio_container_for_group", id: 14, fd: 27 },
    ]);
  });

  it.each(["vfio-iommufd-2dev-msix70-kvm-11.1-linux7.3", "vfio-group-4dev-msix144-kvm-11.1"])(
    "the main stream of %s is read to its end and written to the same bytes",
    async (file) => {
      const bytes = read(`${file}.mig`);
      const migration = readMigrationBytes(bytes);
      expect(migration).toMatchObject({ complete: true, problems: [] });
      const devices = migration.sections.flatMap(({ device }) => (device === undefined ? [] : device));
      expect(devices.length).toBeGreaterThan(20);
      const chunks: Uint8Array[] = [];
      for await (const chunk of encodeMigration(migration, bytes)) chunks.push(chunk.slice());
      expect(Buffer.concat(chunks).equals(bytes)).toBe(true);
    },
  );
});
