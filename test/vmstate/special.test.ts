// Padding, scratch structures, checks.
import { expect, test } from "vitest";
import {
  load,
  mustExist,
  save,
  since,
  uint8,
  uint16,
  unusedBuffer,
  validate,
  vmstate,
  withTmp,
} from "../../src/vmstate/index.ts";
import { bytesOf, caught, codeOf, hexOf, invalidTable, validTable } from "./table.ts";

const padded = vmstate({ name: "padded", version: 1, fields: { a: uint8(), unused: unusedBuffer(3), b: uint8() } });
validTable("unused", padded, [
  { state: { a: 1, b: 2 }, hex: "01 000000 02" },
  { title: "anything is accepted, zero is saved", state: { a: 1, b: 2 }, hex: "01 abcdef 02", saved: "0100000002" },
]);
invalidTable("unused", padded, [{ hex: "01 0000", code: "ERR_EOF", path: "padded/unused", offset: 1 }]);

const scratch = vmstate({ name: "scratch", version: 0, fields: { low: uint8(), high: uint8() } });
validTable("tmp", vmstate({ name: "t", version: 1, fields: { tmp: withTmp(scratch), next: uint8() } }), [
  { state: { tmp: { low: 1, high: 2 }, next: 3 }, hex: "01 02 03" },
]);
invalidTable("tmp", vmstate({ name: "t", version: 1, fields: { tmp: withTmp(scratch) } }), [
  { hex: "01", code: "ERR_EOF", path: "t/tmp/scratch/high", offset: 1 },
  { state: { tmp: { low: 1 } }, code: "ERR_VALUE", path: "t/tmp/scratch/high" },
]);

test("tmp converts from and to its parent", () => {
  const described = vmstate({
    name: "t",
    version: 1,
    fields: {
      word: uint16(),
      tmp: withTmp(scratch, {
        fromParent: ({ word }) => ({ low: (word as number) & 0xff, high: (word as number) >> 8 }),
        toParent: ({ low, high }, parent) => {
          // Changes what was loaded before it: the scratch structure's task.
          parent["word"] = (low | (high << 8)) ^ 0xffff;
        },
      }),
    },
  });
  expect(hexOf(save(described, { word: 0x1234 }).bytes)).toBe("12343412");
  expect(load(described, { bytes: bytesOf("00003412") }).word).toBe(0x1234 ^ 0xffff);
});

test("a tmp that would be loaded at another version than it is saved at is refused: it is 0 unless the field says it", () => {
  const newer = vmstate({
    name: "scratch",
    version: 2,
    minimumVersion: 1,
    fields: { low: uint8(), more: since(2, uint8()) },
  });
  for (const version of [undefined, 1, 3])
    expect(codeOf(caught(() => withTmp(newer, version === undefined ? {} : { version })))).toBe("ERR_DESCRIPTION");
  const at2 = vmstate({ name: "t", version: 2, fields: { tmp: withTmp(newer, { version: 2 }) } });
  expect(load(at2, save(at2, { tmp: { low: 1, more: 2 } }))).toEqual({ tmp: { low: 1, more: 2 } });
});

const checked = vmstate({
  name: "checked",
  version: 1,
  fields: { a: uint8(), b: uint8(), ordered: validate(["a", "b"], ({ a, b }: { a: number; b: number }) => a < b) },
});
validTable("validate", checked, [{ state: { a: 1, b: 2 }, hex: "01 02" }]);
invalidTable("validate", checked, [
  { hex: "02 02", code: "ERR_MUST_EXIST", path: "checked/ordered", offset: 2 },
  { state: { a: 3, b: 2 }, code: "ERR_MUST_EXIST", path: "checked/ordered" },
]);

const must = vmstate({ name: "must", version: 2, fields: { a: uint8(), b: mustExist(since(2, uint8())) } });
validTable("must exist", must, [{ state: { a: 1, b: 2 }, hex: "01 02" }]);
invalidTable("must exist", must, [{ hex: "01", code: "ERR_MUST_EXIST", path: "must/b", offset: 1, version: 1 }]);
