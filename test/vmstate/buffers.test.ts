// Raw bytes and text in buffers.
import { expect, test } from "vitest";
import {
  buffer,
  cstring,
  int32,
  load,
  opaque,
  partialBuffer,
  uint32,
  vbuffer,
  vmstate,
} from "../../src/vmstate/index.ts";
import { bytesOf, caught, codeOf, invalidTable, validTable } from "./table.ts";

const fixed = vmstate({ name: "fixed", version: 1, fields: { data: buffer(4) } });
validTable("buffer", fixed, [{ state: { data: bytesOf("00ff0102") }, hex: "00ff0102" }]);
invalidTable("buffer", fixed, [
  { hex: "00ff01", code: "ERR_EOF", path: "fixed/data", offset: 0 },
  { state: { data: bytesOf("00ff01") }, code: "ERR_VALUE", path: "fixed/data" },
  { state: { data: [0, 1, 2, 3] }, code: "ERR_VALUE", path: "fixed/data" },
]);

validTable("opaque", vmstate({ name: "d", version: 1, fields: { config: opaque("pci config", 3) } }), [
  { state: { config: bytesOf("868070") }, hex: "868070" },
]);

const sized = vmstate({ name: "sized", version: 1, fields: { length: uint32(), data: vbuffer("length") } });
validTable("vbuffer", sized, [
  { state: { length: 0, data: bytesOf("") }, hex: "00000000" },
  { state: { length: 2, data: bytesOf("abcd") }, hex: "00000002 abcd" },
]);
invalidTable("vbuffer", sized, [
  { hex: "00000003 abcd", code: "ERR_EOF", path: "sized/data", offset: 4 },
  { hex: "7fffffff abcd", code: "ERR_EOF", path: "sized/data", offset: 4 },
  // QEMU reads a size as signed: from 2^31 on it is negative there.
  { hex: "80000000 abcd", code: "ERR_LIMIT", path: "sized/data", offset: 4 },
  { hex: "ffffffff", code: "ERR_LIMIT", path: "sized/data", offset: 4 },
  { state: { length: 3, data: bytesOf("abcd") }, code: "ERR_VALUE", path: "sized/data" },
]);

const signed = vmstate({ name: "signed", version: 1, fields: { length: int32(), data: vbuffer("length") } });
invalidTable("vbuffer by a signed length", signed, [
  { hex: "ffffffff", code: "ERR_LIMIT", path: "signed/data", offset: 4 },
  { state: { length: -1, data: bytesOf("") }, code: "ERR_VALUE", path: "signed/data" },
]);

const multiplied = vmstate({ name: "m", version: 1, fields: { n: uint32(), data: vbuffer("n", { times: 3 }) } });
validTable("multiplied vbuffer", multiplied, [
  { state: { n: 2, data: bytesOf("010203040506") }, hex: "00000002 010203040506" },
]);
invalidTable("multiplied vbuffer", multiplied, [
  { hex: "7fffffff 0102", code: "ERR_EOF", path: "m/data", offset: 4 },
  { state: { n: 2, data: bytesOf("0102") }, code: "ERR_VALUE", path: "m/data" },
]);

const partial = vmstate({ name: "p", version: 1, fields: { data: partialBuffer(6, 2, 5) } });
validTable("partial buffer", partial, [
  { title: "without a target the rest is zero", state: { data: bytesOf("0000aabbcc00") }, hex: "aabbcc" },
  {
    title: "the target keeps the rest",
    state: { data: bytesOf("1111aabbcc11") },
    hex: "aabbcc",
    into: () => ({ data: bytesOf("111111111111") }),
  },
]);
invalidTable("partial buffer", partial, [{ state: { data: bytesOf("aabbcc") }, code: "ERR_VALUE", path: "p/data" }]);
test.each([
  [4, 3, 2],
  [4, 0, 5],
  [4, -1, 2],
  [4, 0.5, 2],
])("no partial buffer of %i from %d to %d", (size, start, end) => {
  expect(codeOf(caught(() => partialBuffer(size, start, end)))).toBe("ERR_DESCRIPTION");
});

const named = vmstate({ name: "named", version: 1, fields: { namelen: uint32(), name: cstring("namelen", 8) } });
validTable("cstring", named, [
  { state: { namelen: 1, name: "" }, hex: "00000001 00" },
  { state: { namelen: 4, name: "abc" }, hex: "00000004 61626300" },
  { title: "UTF-8", state: { namelen: 3, name: "\u00e9" }, hex: "00000003 c3a900" },
  { title: "not UTF-8", state: { namelen: 3, name: "a\udcff" }, hex: "00000003 61ff00" },
]);
invalidTable("cstring", named, [
  { hex: "00000000", code: "ERR_LIMIT", path: "named/name", offset: 0 },
  { hex: "00000009 616161616161616100", code: "ERR_LIMIT", path: "named/name", offset: 0 },
  { title: "no final NUL", hex: "00000003 616263", code: "ERR_BAD_BYTE", path: "named/name", offset: 6 },
  { title: "a NUL inside", hex: "00000003 610000", code: "ERR_BAD_BYTE", path: "named/name", offset: 5 },
  { hex: "00000003 6100", code: "ERR_EOF", path: "named/name", offset: 4 },
  { state: { namelen: 3, name: "abc" }, code: "ERR_VALUE", path: "named/name" },
  { state: { namelen: 4, name: "a\0c" }, code: "ERR_VALUE", path: "named/name" },
  { state: { namelen: 9, name: "abcdefgh" }, code: "ERR_VALUE", path: "named/name" },
  {
    title: "a surrogate that stands for no byte",
    state: { namelen: 4, name: "\ud800" },
    code: "ERR_VALUE",
    path: "named/name",
  },
]);

test("a buffer is a view of the input", () => {
  const bytes = bytesOf("01020304");
  expect(load(fixed, { bytes }).data.buffer).toBe(bytes.buffer);
});
