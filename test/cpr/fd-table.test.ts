// The table against a plain list that is searched from end to end: whatever is done, both must say the same.

import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { CprState, type FdEntry, loadCprState, saveCprState } from "../../src/cpr/index.ts";
import { textBytes, Writer } from "../../src/vmstate/index.ts";

/** QEMU's list: newest first, each look-up a search. */
class Model {
  entries: FdEntry[] = [];

  find(name: string, id: number): number {
    return this.entries.find((entry) => entry.name === name && entry.id === id)?.fd ?? -1;
  }

  delete(name: string, id: number): boolean {
    const at = this.entries.findIndex((entry) => entry.name === name && entry.id === id);
    if (at >= 0) this.entries.splice(at, 1);
    return at >= 0;
  }
}

const name = fc.oneof(
  { weight: 4, arbitrary: fc.constantFrom("ram0", "vfio0_interrupt", "vfio1_interrupt") },
  { weight: 1, arbitrary: fc.constantFrom("constructor", "__proto__", "", "0", "7", "名", "\udc80", "n".repeat(300)) },
  { weight: 1, arbitrary: fc.nat({ max: 200 }).map((n) => `mem${n}`) },
);
const id = fc.oneof(
  { weight: 5, arbitrary: fc.nat({ max: 60 }) },
  { weight: 2, arbitrary: fc.nat({ max: 20 }).map((n) => n * 65_536) },
  { weight: 1, arbitrary: fc.constantFrom(-1, -2, 2 ** 31 - 1, -(2 ** 31), 4095, 4096) },
  { weight: 1, arbitrary: fc.integer({ min: -(2 ** 31), max: 2 ** 31 - 1 }) },
);
const fd = fc.nat({ max: 9 });
const step = fc.oneof(
  { weight: 8, arbitrary: fc.record({ call: fc.constant("save" as const), name, id, fd }) },
  { weight: 4, arbitrary: fc.record({ call: fc.constant("resave" as const), name, id, fd }) },
  { weight: 5, arbitrary: fc.record({ call: fc.constant("find" as const), name, id }) },
  { weight: 3, arbitrary: fc.record({ call: fc.constant("delete" as const), name, id }) },
  // Keys drawn at random are seldom there: take some that are.
  { weight: 4, arbitrary: fc.record({ call: fc.constant("delete one" as const), at: fc.nat({ max: 500 }) }) },
  { weight: 1, arbitrary: fc.record({ call: fc.constant("delete many" as const), at: fc.nat({ max: 80 }) }) },
);
type Step = typeof step extends fc.Arbitrary<infer T> ? T : never;

function run(steps: readonly Step[]): void {
  const state = new CprState();
  const model = new Model();
  for (const one of steps) {
    switch (one.call) {
      case "save":
        if (model.find(one.name, one.id) >= 0) {
          expect(() => state.saveFd(one.name, one.id, one.fd)).toThrow(/already registered/);
        } else {
          state.saveFd(one.name, one.id, one.fd);
          model.entries.unshift({ name: one.name, id: one.id, fd: one.fd });
        }
        break;
      case "resave": {
        const found = model.find(one.name, one.id);
        if (found >= 0 && found !== one.fd) {
          expect(() => state.resaveFd(one.name, one.id, one.fd)).toThrow(/already saved/);
        } else {
          state.resaveFd(one.name, one.id, one.fd);
          if (found < 0) model.entries.unshift({ name: one.name, id: one.id, fd: one.fd });
        }
        break;
      }
      case "find":
        if (state.findFd(one.name, one.id) !== model.find(one.name, one.id)) expect.unreachable("found another fd");
        break;
      case "delete":
        if (state.deleteFd(one.name, one.id) !== model.delete(one.name, one.id)) expect.unreachable("deleted another");
        break;
      case "delete one": {
        const entry = model.entries[one.at % Math.max(1, model.entries.length)];
        if (entry !== undefined && !state.deleteFd(entry.name, entry.id)) expect.unreachable("lost an entry");
        if (entry !== undefined) model.delete(entry.name, entry.id);
        break;
      }
      case "delete many":
        for (const entry of model.entries.splice(one.at)) state.deleteFd(entry.name, entry.id);
        break;
    }
    if (state.size !== model.entries.length) expect.unreachable(`${state.size} entries, not ${model.entries.length}`);
  }
  expect(state.entries()).toEqual(model.entries);
  for (const entry of model.entries) {
    if (state.findFd(entry.name, entry.id) !== entry.fd) expect.unreachable("an entry is not found");
  }
  for (const abi of ["list", "hash"] as const) {
    expect(loadCprState(saveCprState(state, { abi })).state.entries()).toEqual(model.entries);
  }
}

describe("the table", () => {
  it("does what a plain list does, in 100,000 random steps", () => {
    const steps = fc.array(step, { minLength: 1000, maxLength: 1000, size: "max" });
    fc.assert(fc.property(steps, run), { numRuns: 100, seed: 1 });
  });

  it.each([
    ["rising", (at: number) => at],
    ["falling", (at: number) => 4999 - at],
    ["negative", (at: number) => -1 - at],
    ["far apart", (at: number) => at * 400_000],
    ["inside out", (at: number) => (at % 2 === 0 ? 2500 + at / 2 : 2500 - (at + 1) / 2)],
  ])("finds 5,000 fds of one name with %s ids, also after half of them went", (_title, idOf) => {
    const state = new CprState();
    for (let at = 0; at < 5000; at++) state.saveFd("vector", idOf(at), at);
    for (let at = 0; at < 5000; at += 2) expect(state.deleteFd("vector", idOf(at))).toBe(true);
    for (let at = 0; at < 5000; at++) expect(state.findFd("vector", idOf(at))).toBe(at % 2 === 0 ? -1 : at);
    for (let at = 0; at < 5000; at += 2) state.saveFd("vector", idOf(at), at);
    for (let at = 0; at < 5000; at++) expect(state.findFd("vector", idOf(at))).toBe(at);
    expect(state.size).toBe(5000);
  });
});

/** A stream of the list ABI with these entries, in this order, as QEMU 10.0 sends it (no subsection). */
function streamOf(entries: readonly FdEntry[]): Uint8Array {
  const writer = new Writer();
  writer.uint32(0x51435052);
  writer.uint32(1);
  for (const entry of entries) {
    writer.uint8(1);
    writer.uint32(textBytes(entry.name).length + 1);
    writer.text(entry.name);
    writer.uint8(0);
    writer.uint32(entry.id >>> 0);
    writer.uint8(0x20);
  }
  writer.uint8(0);
  return writer.finish().bytes.slice();
}

it("takes up any list that a QEMU can send, with repeated keys too, as QEMU's list does", () => {
  const keys = fc.tuple(
    fc.constantFrom("ram0", "vfio0_interrupt", "__proto__", "", "\udc80"),
    fc.constantFrom(0, 1, 2, 70_000, -1),
  );
  const step = fc.tuple(keys, fc.constantFrom("find", "delete", "open" as const));
  fc.assert(
    fc.property(fc.array(keys, { maxLength: 40 }), fc.array(step, { maxLength: 20 }), (sent, steps) => {
      const entries = sent.map(([entryName, entryId], at) => ({ name: entryName, id: entryId, fd: 100 + at }));
      const bytes = streamOf(entries);
      const fds = placesOfFds(entries).map((offset, at) => ({ offset, fd: 100 + at }));
      const { state, dropped } = loadCprState({ bytes, fds });
      const model = new Model();
      // QEMU keeps all of them, and finds the first.
      model.entries = entries.filter(
        ({ name: a, id: b }, at) => entries.findIndex((other) => other.name === a && other.id === b) === at,
      );
      expect(state.entries()).toEqual(model.entries);
      expect(dropped.map((entry) => entry.fd).sort()).toEqual(
        entries.filter((entry) => !model.entries.includes(entry)).map((entry) => entry.fd),
      );
      for (const [[stepName, stepId], call] of steps) {
        if (call === "find") expect(state.findFd(stepName, stepId)).toBe(model.find(stepName, stepId));
        else if (call === "delete") expect(state.deleteFd(stepName, stepId)).toBe(model.delete(stepName, stepId));
        else {
          const found = model.find(stepName, stepId);
          if (found < 0) model.entries.unshift({ name: stepName, id: stepId, fd: 7 });
          expect(state.openFd("/path", stepName, stepId, () => 7)).toBe(found < 0 ? 7 : found);
        }
      }
      const walked: FdEntry[] = [];
      state.walkFds((entry) => walked.push(entry) > 0);
      expect(walked).toEqual(model.entries);
    }),
    { seed: 2, numRuns: 2000 },
  );
});

/** Offsets of the bytes 20, one for each entry. */
function placesOfFds(entries: readonly FdEntry[]): number[] {
  let at = 8;
  return entries.map((entry) => {
    at += 1 + 4 + textBytes(entry.name).length + 1 + 4 + 1;
    return at - 1;
  });
}
