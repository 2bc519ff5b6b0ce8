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

  it("shows transport, features, queues and the device's own part by name", () => {
    const section = streams
      .find(({ name }) => name === "cpr-main-live-linux-10.0-to-11.1")
      ?.migration.sections.find(({ name }) => name.endsWith("virtio-net"));
    if (section === undefined) return;
    const value = (path: string) => find(section.fields, path)?.value;
    expect(value("virtio/pci/config/vendor_id")).toBe(0x1af4);
    expect(value("virtio/guest_features/VIRTIO_NET_F_MAC")).toBe(true);
    expect(value("virtio/queues")).toBe(3);
    expect(value("virtio/vq[0]/num")).toBe(256);
    expect(value("virtio/device/mac")).toHaveLength(6);
    expect(find(section.fields, "virtio/virtio/extra_state/extra_state/virtio_pci/modern_state")).toBeDefined();
  });

  it("is encoded with a value that was changed", () => {
    for (const { migration } of streams) {
      const device = migration.sections.find(({ name }) => name.endsWith("virtio-net"))?.device;
      if (device?.state === undefined) continue;
      const state = device.state["virtio"] as { status: number; form: unknown };
      const { status } = state;
      state.status = 0x83;
      const changed = encodeDevice(device);
      state.status = status;
      expect(changed.length).toBe(device.body.length);
      expect(changed.filter((byte, at) => byte !== device.body[at])).toEqual(new Uint8Array([0x83]));
      return;
    }
  });

  it("keeps as bytes what it does not know, from there on", () => {
    const stream = listMigrationCaptures().find(({ name }) => name === "cpr-main-live-linux-10.0-to-11.1");
    if (stream === undefined) throw new Error("no stream with virtio");
    const read = (letter: number) => {
      const damaged = Buffer.from(stream.bytes);
      for (let at = damaged.indexOf("virtio/"); at >= 0; at = damaged.indexOf("virtio/", at + 1))
        if (damaged[at - 2] === 5) damaged[at + 7] = letter;
      const { sections } = readMigrationBytes(new Uint8Array(damaged), { offset: stream.offset });
      return sections.find(({ name }) => /\/virtio-net$/.test(name));
    };
    const section = read(0x2e);
    expect(find(section?.fields ?? [], "virtio/queues")?.value).toBe(3);
    expect(find(section?.fields ?? [], "virtio/device")?.value).toBeInstanceOf(Uint8Array);
    if (section?.device === undefined) throw new Error("not decoded");
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
