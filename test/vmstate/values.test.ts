// Timer, double and bitmap.
import { expect, test } from "vitest";
import { bitmap, cpuDouble, type Field, int32, load, save, timer, vmstate } from "../../src/vmstate/index.ts";
import { bytesOf, hexOf, invalidTable, validTable } from "./table.ts";

const one = <T>(field: Field<T>) => vmstate({ name: "one", version: 1, fields: { value: field } });

validTable("timer", one(timer()), [
  { title: "not armed", state: { value: null }, hex: "ffffffffffffffff" },
  { state: { value: 0n }, hex: "0000000000000000" },
  { state: { value: 2n ** 64n - 2n }, hex: "fffffffffffffffe" },
]);
invalidTable("timer", one(timer()), [
  { title: "all ones is not a time", state: { value: 2n ** 64n - 1n }, code: "ERR_VALUE", path: "one/value" },
  { state: { value: -1n }, code: "ERR_VALUE", path: "one/value" },
  { state: { value: 5 }, code: "ERR_VALUE", path: "one/value" },
  { state: {}, code: "ERR_VALUE", path: "one/value" },
]);

validTable("CPU_Double_U", one(cpuDouble()), [
  { state: { value: 1 }, hex: "3ff0000000000000" },
  { state: { value: -0 }, hex: "8000000000000000" },
  { state: { value: Number.NEGATIVE_INFINITY }, hex: "fff0000000000000" },
  { state: { value: Number.NaN }, hex: "7ff8000000000000" },
  { title: "another NaN keeps its bits", state: { value: 0x7ff0_0000_0000_0001n }, hex: "7ff0000000000001" },
  { title: "a negative NaN", state: { value: 0xfff8_0000_0000_0000n }, hex: "fff8000000000000" },
]);
invalidTable("CPU_Double_U", one(cpuDouble()), [
  { state: { value: "1" }, code: "ERR_VALUE", path: "one/value" },
  { state: { value: 2n ** 64n }, code: "ERR_VALUE", path: "one/value" },
]);

const sized = vmstate({ name: "map", version: 1, fields: { bits: int32(), map: bitmap("bits") } });
validTable("bitmap", sized, [
  { title: "no bits, no words", state: { bits: 0, map: 0n }, hex: "00000000" },
  { state: { bits: 1, map: 1n }, hex: "00000001 0000000000000001" },
  { state: { bits: 64, map: 2n ** 63n }, hex: "00000040 8000000000000000" },
  {
    title: "the lowest word first",
    state: { bits: 65, map: 2n ** 64n + 2n },
    hex: "00000041 0000000000000002 0000000000000001",
  },
  {
    title: "bits above the size stay",
    state: { bits: 4, map: 0xf0fn },
    hex: "00000004 0000000000000f0f",
  },
]);
invalidTable("bitmap", sized, [
  { hex: "00000041 0000000000000002", code: "ERR_EOF", path: "map/map", offset: 4 },
  { hex: "10000000", code: "ERR_EOF", path: "map/map", offset: 4 },
  { title: "more than a bigint holds", hex: "10000001", code: "ERR_LIMIT", path: "map/map", offset: 4 },
  { hex: "ffffffff", code: "ERR_LIMIT", path: "map/map", offset: 4 },
  { state: { bits: 64, map: 2n ** 64n }, code: "ERR_VALUE", path: "map/map" },
  { state: { bits: 64, map: -1n }, code: "ERR_VALUE", path: "map/map" },
  { state: { bits: 0, map: 1n }, code: "ERR_VALUE", path: "map/map" },
]);
validTable("bitmap of a fixed size", one(bitmap(70)), [
  { state: { value: 0n }, hex: "0000000000000000 0000000000000000" },
]);

test("a long bitmap keeps every bit", () => {
  const described = one(bitmap(64 * 500));
  let map = 0n;
  for (let bit = 0n; bit < 32_000n; bit += 7n) map |= 1n << bit;
  const { bytes } = save(described, { value: map });
  expect(load(described, { bytes }).value).toBe(map);
  expect(hexOf(bytes.subarray(0, 8))).toBe(hexOf(bytesOf(BigInt.asUintN(64, map).toString(16).padStart(16, "0"))));
});
