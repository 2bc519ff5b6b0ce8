// What is kept of an update for whoever asked for it by a key, when the journal has to say it.
import { mkdirSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { afterAll, expect, it } from "vitest";
import { bootId, type Journal } from "../../src/qemu/update/record/journal.ts";
import { keepFinished, keepReport, reportFor } from "../../src/qemu/update/record/reports.ts";
import { vmFolder } from "../../src/qemu/vm/state-dir.ts";
import { killAllVms, privateDir } from "../support/vm.ts";

afterAll(killAllVms);

/** A VM's folder, and the journal of an update in it. */
function place(changes: Partial<Journal>): { readonly folder: string; readonly journal: Journal } {
  const dir = privateDir();
  const qmp = join(dir, "q.sock");
  const folder = vmFolder(join(dir, "state"), qmp);
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  const journal: Journal = {
    version: 1,
    id: "abc123",
    startedAt: "2025-01-01T00:00:00.000Z",
    bootId: bootId(),
    mode: "cpr-transfer",
    step: "done",
    outcome: "updated",
    key: "a",
    source: { pid: 4_194_000, startTime: "1", qmp, version: "10.0.2" },
    destination: { pid: 4_194_001, startTime: "2", qmp: `${qmp}.cpr1`, version: "11.1.0" },
    runState: "running",
    returnPath: true,
    settings: { mode: "normal", capabilities: {} },
    moved: [],
    publicQmp: qmp,
    files: [],
    log: join(folder, "abc123.log"),
    vfio: false,
    request: { mode: "cpr-transfer", allow: [], timeoutMs: 1_000 },
    ...changes,
  };
  return { folder, journal };
}

it("of a finished update without an answer the journal says what is known, for its own key alone", () => {
  const { folder, journal } = place({ pause: { downtimeMs: 3.5, stopUs: 1_000, resumeUs: 4_500 } });
  keepFinished(folder, journal);
  expect(reportFor(folder, "b")).toBeUndefined();
  expect(reportFor(folder, "a")).toEqual({
    result: "updated",
    text: expect.stringMatching(/^QEMU 10\.0\.2 was replaced by 11\.1\.0 \(cpr-transfer\); who asked for it ended/),
    pid: 4_194_001,
    qmp: journal.publicQmp,
    fromJournal: {
      mode: "cpr-transfer",
      startedAt: "2025-01-01T00:00:00.000Z",
      from: "10.0.2",
      to: "11.1.0",
      sourcePid: 4_194_000,
      pid: 4_194_001,
      downtimeMs: 3.5,
      stopUs: 1_000,
      resumeUs: 4_500,
      log: journal.log,
    },
  });
});

it("the answer that its caller kept stays", () => {
  const { folder, journal } = place({});
  keepReport(folder, "a", { result: "updated", report: { totalMs: 1 } });
  keepFinished(folder, journal);
  expect(reportFor(folder, "a")).toEqual({ result: "updated", report: { totalMs: 1 } });
});

it("of a guest that is lost it says so, and why", () => {
  const { folder, journal } = place({ outcome: "lost", message: "the new QEMU has ended" });
  keepFinished(folder, journal);
  const answer = reportFor(folder, "a");
  expect(answer).toMatchObject({ result: "lost", text: "the new QEMU has ended" });
  expect(answer).not.toHaveProperty("pid");
});

it.each<[why: string, changes: Partial<Journal>]>([
  ["is under way, or was cut off", { outcome: undefined }],
  ["was taken back: it is tried again", { outcome: "rolled-back" }],
  ["has no key", { key: undefined }],
])("nothing is kept of an update that %s", (_, changes) => {
  const { folder, journal } = place(changes);
  keepFinished(folder, journal);
  expect(readdirSync(folder)).toEqual([]);
});
