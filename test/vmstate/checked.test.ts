// Integers that must agree with the target's.
import { expect, test } from "vitest";
import {
  type Field,
  int32Equal,
  int32Le,
  load,
  uint8Equal,
  uint16Equal,
  uint32Equal,
  uint64Equal,
  vmstate,
} from "../../src/vmstate/index.ts";
import { bytesOf, caught, invalidTable, validTable } from "./table.ts";

const one = <T>(field: Field<T>) => vmstate({ name: "one", version: 1, fields: { value: field } });

const small: readonly [string, () => Field<number>, number, string, string][] = [
  ["uint8 equal", uint8Equal, 0xfe, "fe", "ff"],
  ["uint16 equal", uint16Equal, 0xfffe, "fffe", "fffd"],
  ["int32 equal", int32Equal, -2, "fffffffe", "00000002"],
  ["uint32 equal", uint32Equal, 0xffff_fffe, "fffffffe", "00000002"],
];
for (const [name, kind, value, same, other] of small) {
  validTable(name, one(kind()), [
    { title: "equal", state: { value }, hex: same, into: () => ({ value }) },
    { title: "nothing to compare with", state: { value }, hex: same },
  ]);
  invalidTable(name, one(kind()), [
    { hex: other, code: "ERR_NOT_EQUAL", path: "one/value", offset: 0, into: () => ({ value }) },
    { hex: other.slice(2), code: "ERR_EOF", path: "one/value", offset: 0, into: () => ({ value }) },
    { state: { value: "1" }, code: "ERR_VALUE", path: "one/value" },
  ]);
  test(`${name} is its type's name`, () => expect(kind().type).toBe(name));
}

const value = 2n ** 63n + 1n;
validTable("uint64 equal", one(uint64Equal()), [
  { state: { value }, hex: "8000000000000001", into: () => ({ value }) },
]);
invalidTable("uint64 equal", one(uint64Equal()), [
  { hex: "0000000000000001", code: "ERR_NOT_EQUAL", path: "one/value", offset: 0, into: () => ({ value }) },
]);
test("QEMU calls an unsigned 64-bit equal signed", () => expect(uint64Equal().type).toBe("int64 equal"));

test("the message shows both values and the hint", () => {
  const described = one(uint32Equal({ hint: "Start it with -smp 4." }));
  const error = caught(() => load(described, { bytes: bytesOf("00000010") }, { into: { value: 4 } }));
  expect(String(error)).toContain("the stream has 16 (0x10), this machine 4 (0x4)");
  expect(String(error)).toContain("Start it with -smp 4.");
});

validTable("int32 le", one(int32Le()), [
  { state: { value: 0 }, hex: "00000000", into: () => ({ value: 5 }) },
  { state: { value: 5 }, hex: "00000005", into: () => ({ value: 5 }) },
  { title: "big-endian, whatever its name", state: { value: 256 }, hex: "00000100" },
]);
invalidTable("int32 le", one(int32Le()), [
  { hex: "00000006", code: "ERR_RANGE", path: "one/value", offset: 0, into: () => ({ value: 5 }) },
  { hex: "ffffffff", code: "ERR_RANGE", path: "one/value", offset: 0, into: () => ({ value: 5 }) },
  { hex: "80000000", code: "ERR_RANGE", path: "one/value", offset: 0 },
]);
