// What QEMU would say of each finding of check, and what explain makes of it: the same device, and the reason.

import { expect, test } from "vitest";
import {
  checkMigration,
  checkSideOf,
  explainLog,
  type Migration,
  readMigrationBytes,
} from "../../src/migration/index.ts";
import { refusal } from "../../src/web/worker/refusal.ts";
import { hasAllCaptures, listMigrationCaptures } from "../migration/captures.ts";

const streams = new Map(
  listMigrationCaptures().map(({ name, bytes, offset }) => [name, readMigrationBytes(bytes, { offset })]),
);
const of = (name: string): Migration => {
  const found = streams.get(name);
  if (found === undefined) throw new Error(`no capture ${name}`);
  return found;
};
const pairs: readonly (readonly [source: string, destination: string])[] = hasAllCaptures
  ? [
      ["q35-virtio-11.1", "q35-many-10.0"],
      ["pc-many-10.0", "pc-basic-11.1"],
      ["q35-smp4-virtio-iommu-11.1", "q35-virtio-11.1"],
      ["cpr-main-pc-linux-nvme-11.1", "pc-many-10.0"],
    ]
  : [["cpr-main-pc-linux-nvme-11.1", "cpr-main-pc-firmware-11.1"]];

/** Findings that have a message of QEMU's own. */
const expected: Readonly<Record<string, string>> = {
  "machine-differs": "machine-type",
  "ram-block-missing": "unknown-ram-block",
  "ram-size-differs": "ram-size",
  "section-missing": "unknown-section",
  "pci-config-differs": "pci-config",
  "virtio-feature-missing": "virtio-features",
};

test.each(pairs)("%s on the machine of %s", (source, destination) => {
  const [a, b] = [of(source), of(destination)];
  const findings = checkMigration(checkSideOf(a), checkSideOf(b));
  expect(findings.length).toBeGreaterThan(2);
  for (const finding of findings) {
    const [explanation, ...more] = explainLog(refusal(finding, a, b), a);
    const { code, section, path } = finding;
    expect([code, section, path, more.length]).toEqual([code, section, path, 0]);
    expect([code, explanation?.remedy.length]).toEqual([code, expect.any(Number)]);
    if (section !== "" && code !== "uuid-differs") expect([code, explanation?.section]).toEqual([code, section]);
    const own = expected[code];
    if (own !== undefined) expect([code, path, explanation?.code]).toEqual([code, path, own]);
  }
});
