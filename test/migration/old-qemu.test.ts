// Streams of QEMU 5.2 and 7.2 (Debian 11 and 12), recorded from a q35 with disks, network cards, USB and sound; guest RAM is
// zeroed. In a machine as old as 5.2 there is no command of the switch-over, and fields have other names.

import { readFileSync } from "node:fs";
import { join } from "node:path";
import { gunzipSync } from "node:zlib";
import { describe, expect, test } from "vitest";
import { checkMigration, checkSideOf, encodeMigration, readMigrationBytes } from "../../src/migration/index.ts";
import { repoRoot } from "../support/cli.ts";

const recorded = (version: string) =>
  new Uint8Array(gunzipSync(readFileSync(join(repoRoot, `test/fixtures/migration/old-q35-${version}.mig.gz`))));

describe.each(["5.2", "7.2"])("a stream of QEMU %s", (version) => {
  const bytes = recorded(version);
  const migration = readMigrationBytes(bytes);

  test("is read whole", () => {
    expect(migration).toMatchObject({
      machine: `pc-q35-${version}`,
      complete: true,
      stopped: undefined,
      problems: [],
      pageSize: 4096,
      trailing: undefined,
    });
    const devices = migration.sections.filter(({ type }) => type === "full");
    expect(devices.length).toBeGreaterThan(30);
    expect(devices.filter(({ device }) => device?.state === undefined).map(({ name }) => name)).toEqual([]);
    expect(devices.map(({ name }) => name)).toEqual(
      expect.arrayContaining(["cpu", "0000:00:01.0/virtio-net", "0000:00:02.0/virtio-blk", "0000:00:03.0/xhci"]),
    );
  });

  test("comes out byte for byte as it was", async () => {
    const parts: Uint8Array[] = [];
    for await (const part of encodeMigration(migration, bytes)) parts.push(part.slice());
    expect(Buffer.concat(parts).equals(bytes)).toBe(true);
  });

  test("can be loaded by its own kind", () => {
    const findings = checkMigration(checkSideOf(migration), checkSideOf(migration));
    expect(findings).toEqual([]);
  });
});
