import { expect, test } from "vitest";
import { CprState, compareCprStates, reportCprState, type SaveCprOptions, saveCprState } from "../../src/cpr/index.ts";
import { listCprCaptures } from "../support/shared.ts";

function report(entries: readonly (readonly [string, number, number])[], options: SaveCprOptions = {}) {
  const state = new CprState();
  for (const [name, id, fd] of entries) state.saveFd(name, id, fd);
  return reportCprState({ bytes: saveCprState(state, options).bytes });
}

test("a state does not differ from itself", () => {
  for (const { bytes } of listCprCaptures()) {
    const one = reportCprState({ bytes });
    expect(compareCprStates(one, one)).toEqual([]);
  }
});

test("keys that only one side has, with their places", () => {
  const a = report([
    ["ram0", 0, 3],
    ["gone", 7, 4],
  ]);
  const b = report([
    ["ram0", 0, 3],
    ["new", -1, 5],
  ]);
  expect(compareCprStates(a, b)).toEqual([
    { kind: "fd", name: "gone", id: 7, a: { offset: 22, fd: null }, b: undefined },
    { kind: "fd", name: "new", id: -1, a: undefined, b: { offset: 21, fd: null } },
  ]);
});

test("another number, where both sides have numbers", () => {
  const [a, b] = [3, 4].map((fd) => report([["ram0", 0, fd]], { fdForm: "number" }));
  expect(compareCprStates(a as never, b as never)).toMatchObject([
    { kind: "fd", name: "ram0", a: { fd: 3 }, b: { fd: 4 } },
  ]);
});

test("ABI, order and subsection", () => {
  const a = report([
    ["x", 0, 3],
    ["y", 0, 4],
  ]);
  expect(
    compareCprStates(
      a,
      report(
        [
          ["x", 0, 3],
          ["y", 0, 4],
        ],
        { abi: "hash" },
      ),
    ),
  ).toEqual([{ kind: "abi", a: "list", b: "hash" }]);
  expect(
    compareCprStates(
      a,
      report([
        ["y", 0, 4],
        ["x", 0, 3],
      ]),
    ),
  ).toEqual([{ kind: "order" }]);
  expect(
    compareCprStates(
      a,
      report(
        [
          ["x", 0, 3],
          ["y", 0, 4],
        ],
        { forVersion: "11.1" },
      ),
    ),
  ).toEqual([{ kind: "subsection", name: "CprState/vfio devices", a: undefined, b: "[]" }]);
});
