import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { gunzipSync } from "node:zlib";
import { describe, expect, it } from "vitest";
import { deviceKind } from "../../src/migration/device/kinds.ts";
import {
  encodeDevice,
  type FieldNode,
  type Migration,
  readMigrationBytes,
  type Section,
  walkFields,
} from "../../src/migration/index.ts";
import { type Field, Reader, Writer } from "../../src/vmstate/index.ts";
import { sharedDir } from "../support/shared.ts";
import { listMigrationCaptures } from "./captures.ts";

function allStreams(): { readonly name: string; readonly migration: Migration }[] {
  const streams = listMigrationCaptures().map(({ name, bytes, offset }) => ({
    name,
    migration: readMigrationBytes(bytes, { offset }),
  }));
  const shared = sharedDir();
  if (shared === undefined) return streams;
  const dir = join(shared, "cases", "streams");
  for (const file of readdirSync(dir).filter((name) => /\.mig(\.gz)?$/.test(name))) {
    const bytes = readFileSync(join(dir, file));
    const plain = file.endsWith(".gz") ? gunzipSync(bytes) : bytes;
    if (plain.subarray(0, 4).toString("latin1") !== "QEVM") continue;
    streams.push({ name: file, migration: readMigrationBytes(new Uint8Array(plain)) });
  }
  return streams;
}

const streams = allStreams();

function find(fields: readonly FieldNode[], path: string): FieldNode | undefined {
  for (const walked of walkFields(fields)) if (walked.path === path) return walked.field;
  return undefined;
}

function sectionOf(stream: string, section: string): Section {
  const found = streams.find(({ name }) => name === stream)?.migration.sections.find(({ name }) => name === section);
  if (found === undefined) throw new Error(`${section} is missing in ${stream}`);
  return found;
}

describe("the virtio field", () => {
  it("is decoded in every recorded stream, and encoded to the same bytes", () => {
    let count = 0;
    for (const { name, migration } of streams) {
      for (const { fields, device } of migration.sections) {
        const blobs = [...walkFields(fields)].filter(({ field }) => field.type === "virtio");
        if (blobs.length === 0 || device?.state === undefined) continue;
        count += blobs.length;
        for (const { field } of blobs) expect(field.fields, name).toBeDefined();
        expect(Buffer.compare(encodeDevice(device), device.body), name).toBe(0);
      }
    }
    console.info(`${count} virtio fields of ${streams.length} streams`);
    expect(count).toBeGreaterThan(1);
  });

  it("shows transport, queues and the device's own part by name", () => {
    const pci = sectionOf("cpr-main-pc-linux-nvme-11.1", "0000:00:02.0/virtio-net");
    const value = (path: string) => find(pci.fields, path)?.value;
    expect(value("virtio/pci/config/vendor_id")).toBe(0x1af4);
    expect(value("virtio/pci/config/virtio_notify/multiplier")).toBe(4);
    expect(value("virtio/queues")).toBe(3);
    expect(value("virtio/vq[0]/num")).toBe(256);
    expect(value("virtio/device/mac")).toHaveLength(6);
    expect(find(pci.fields, "virtio/virtio/extra_state/extra_state/virtio_pci/modern_state")).toBeDefined();
    const mmio = sectionOf("cpr-main-microvm-10.0", "virtio-mmio@00000000feb02800/virtio-console");
    expect(find(mmio.fields, "virtio/queues")?.value).toBe(64);
    expect(find(mmio.fields, "virtio/device/max_nr_ports")?.value).toBe(31);
  });

  it("is encoded with a value that was changed", () => {
    const { device } = sectionOf("cpr-main-pc-linux-nvme-11.1", "0000:00:02.0/virtio-net");
    if (device?.state === undefined) throw new Error("not decoded");
    const state = device.state["virtio"] as { isr: number };
    state.isr = 0x83;
    const changed = encodeDevice(device);
    state.isr = 0;
    expect(changed.length).toBe(device.body.length);
    expect(changed.filter((byte, at) => byte !== device.body[at])).toEqual(new Uint8Array([0x83]));
  });

  it("is decoded on s390x's channel subsystem, in a stream whose description has an array of null pointers", () => {
    const url = new URL("../fixtures/check/s390x-7.2.mig.gz", import.meta.url);
    const { sections } = readMigrationBytes(new Uint8Array(gunzipSync(readFileSync(url))));
    const devices = sections.filter(({ name }) => /\/virtio-\w+$/.test(name));
    expect(devices.map(({ name }) => name.replace(/.*\//, ""))).toEqual([
      ...["virtio-blk", "virtio-net", "virtio-rng", "virtio-console", "virtio-balloon", "virtio-scsi"],
    ]);
    for (const [at, { fields, device }] of devices.entries()) {
      expect(find(fields, "virtio/ccw/sch/devno")?.value).toBe(at);
      expect(find(fields, "virtio/ccw/sch/id/cu_type")?.value).toBe(0x3832);
      if (device === undefined) throw new Error("not decoded");
      expect(Buffer.compare(encodeDevice(device), device.body)).toBe(0);
    }
  });

  it("keeps as bytes what it does not know, from there on", () => {
    const stream = listMigrationCaptures().find(({ name }) => name === "cpr-main-pc-linux-nvme-11.1");
    if (stream === undefined) throw new Error("the stream is missing");
    const damaged = Buffer.from(stream.bytes);
    for (let at = damaged.indexOf("virtio/"); at >= 0; at = damaged.indexOf("virtio/", at + 1))
      if (damaged[at - 2] === 5) damaged[at + 7] = 0x2e;
    const { sections } = readMigrationBytes(new Uint8Array(damaged), { offset: stream.offset });
    const section = sections.find(({ name }) => name.endsWith("/virtio-net"));
    if (section?.device === undefined) throw new Error("not decoded");
    expect(find(section.fields, "virtio/queues")?.value).toBe(3);
    expect(find(section.fields, "virtio/device")?.value).toBeInstanceOf(Uint8Array);
    expect(Buffer.compare(encodeDevice(section.device), section.device.body)).toBe(0);
  });

  it("stays bytes where no form fits", () => {
    const field = deviceKind("virtio", 40, "virtio-net") as Field<unknown>;
    const bytes = new Uint8Array(40).fill(0xee);
    const value = field.load(new Reader({ bytes }), undefined, {});
    expect(value).toEqual(bytes);
    const writer = new Writer("passed", 40);
    field.save(writer, value, {});
    expect(writer.finish().bytes).toEqual(bytes);
  });
});
