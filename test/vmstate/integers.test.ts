// bool and the integers: bytes, bounds, and QEMU's own worked example.
import {
  bool,
  type Field,
  int8,
  int16,
  int32,
  int64,
  uint8,
  uint16,
  uint32,
  uint64,
  vmstate,
} from "../../src/vmstate/index.ts";
import { invalidTable, validTable } from "./table.ts";

const one = <T>(field: Field<T>) => vmstate({ name: "one", version: 1, fields: { value: field } });

const small: readonly [string, () => Field<number>, number, boolean][] = [
  ["int8", int8, 8, true],
  ["uint8", uint8, 8, false],
  ["int16", int16, 16, true],
  ["uint16", uint16, 16, false],
  ["int32", int32, 32, true],
  ["uint32", uint32, 32, false],
];

for (const [name, kind, bits, signed] of small) {
  const min = signed ? -(2 ** (bits - 1)) : 0;
  const max = signed ? 2 ** (bits - 1) - 1 : 2 ** bits - 1;
  const digits = bits / 4;
  const hexOf = (value: number) => BigInt.asUintN(bits, BigInt(value)).toString(16).padStart(digits, "0");
  validTable(
    name,
    one(kind()),
    [min, max, 0, 1, min + 1, max - 1, 100].map((value) => ({ state: { value }, hex: hexOf(value) })),
  );
  invalidTable(name, one(kind()), [
    ...[min - 1, max + 1, 0.5, Number.NaN, Number.POSITIVE_INFINITY, 2 ** 53].map((value) => ({
      title: `${value}`,
      state: { value },
      code: "ERR_VALUE" as const,
      path: "one/value",
    })),
    ...["1", 1n, null, undefined, true, {}].map((value) => ({
      title: `${typeof value} ${value}`,
      state: { value },
      code: "ERR_VALUE" as const,
      path: "one/value",
    })),
    { title: "cut off", hex: "", code: "ERR_EOF", path: "one/value", offset: 0 },
  ]);
}

validTable("int64", one(int64()), [
  { state: { value: -(2n ** 63n) }, hex: "8000000000000000" },
  { state: { value: 2n ** 63n - 1n }, hex: "7fffffffffffffff" },
  { state: { value: -12_121_212n }, hex: "ffffffffff470b84" },
  { state: { value: 0n }, hex: "0000000000000000" },
]);
validTable("uint64", one(uint64()), [
  { state: { value: 2n ** 64n - 1n }, hex: "ffffffffffffffff" },
  { state: { value: 2n ** 53n + 1n }, hex: "0020000000000001" },
  { state: { value: 12_121_212n }, hex: "0000000000b8f47c" },
]);
invalidTable("int64", one(int64()), [
  { state: { value: 2n ** 63n }, code: "ERR_VALUE", path: "one/value" },
  { state: { value: 1 }, code: "ERR_VALUE", path: "one/value" },
  { hex: "00000000000000", code: "ERR_EOF", path: "one/value", offset: 0 },
]);
invalidTable("uint64", one(uint64()), [
  { state: { value: -1n }, code: "ERR_VALUE", path: "one/value" },
  { state: { value: 2n ** 64n }, code: "ERR_VALUE", path: "one/value" },
]);

validTable("bool", one(bool()), [
  { state: { value: true }, hex: "01" },
  { state: { value: false }, hex: "00" },
]);
invalidTable("bool", one(bool()), [
  // Correct: 00 or 01. QEMU takes any byte but 00 for true.
  { hex: "02", code: "ERR_BAD_BYTE", path: "one/value", offset: 0 },
  { hex: "ff", code: "ERR_BAD_BYTE", path: "one/value", offset: 0 },
  { state: { value: 1 }, code: "ERR_VALUE", path: "one/value" },
]);

// The structure of primitives that QEMU 10.0's own unit test of vmstate saves.
validTable(
  "QEMU's primitive structure",
  vmstate({
    name: "primitive",
    version: 1,
    minimumVersion: 1,
    fields: {
      b1: bool(),
      b2: bool(),
      u8: uint8(),
      u16: uint16(),
      u32: uint32(),
      u64: uint64(),
      i8positive: int8(),
      i8negative: int8(),
      i16positive: int16(),
      i16negative: int16(),
      i32positive: int32(),
      i32negative: int32(),
      i64positive: int64(),
      i64negative: int64(),
    },
  }),
  [
    {
      state: {
        b1: true,
        b2: false,
        u8: 130,
        u16: 512,
        u32: 70_000,
        u64: 12_121_212n,
        i8positive: 65,
        i8negative: -65,
        i16positive: 512,
        i16negative: -512,
        i32positive: 70_000,
        i32negative: -70_000,
        i64positive: 12_121_212n,
        i64negative: -12_121_212n,
      },
      hex: `01 00 82 0200 00011170 0000000000b8f47c 41 bf 0200 fe00
        00011170 fffeee90 0000000000b8f47c ffffffffff470b84`,
    },
  ],
);
