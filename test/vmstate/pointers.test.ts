// Null markers and arrays of pointers, in the form of QEMU 10.0 and in that of QEMU 11.
import {
  arrayOfMarkedPointers,
  arrayOfPointers,
  int32,
  nullPointer,
  pointer,
  ptrMarker,
  struct,
  uint8,
  vmstate,
} from "../../src/vmstate/index.ts";
import { invalidTable, validTable } from "./table.ts";

validTable("nullptr", vmstate({ name: "n", version: 1, fields: { p: nullPointer() } }), [
  { state: { p: null }, hex: "30" },
]);
invalidTable("nullptr", vmstate({ name: "n", version: 1, fields: { p: nullPointer() } }), [
  { hex: "31", code: "ERR_BAD_BYTE", path: "n/p", offset: 0 },
  { hex: "00", code: "ERR_BAD_BYTE", path: "n/p", offset: 0 },
  { state: { p: 0 }, code: "ERR_VALUE", path: "n/p" },
]);
validTable("ptr-marker", vmstate({ name: "n", version: 1, fields: { p: ptrMarker() } }), [
  { state: { p: false }, hex: "30" },
  { state: { p: true }, hex: "31" },
]);
invalidTable("ptr-marker", vmstate({ name: "n", version: 1, fields: { p: ptrMarker() } }), [
  { hex: "32", code: "ERR_BAD_BYTE", path: "n/p", offset: 0 },
  { state: { p: null }, code: "ERR_VALUE", path: "n/p" },
]);

const cell = vmstate({ name: "cell", version: 1, fields: { value: int32() } });
validTable("pointer to a struct", vmstate({ name: "d", version: 1, fields: { at: pointer(cell) } }), [
  { title: "the pointer leaves no byte", state: { at: { value: 1 } }, hex: "00000001" },
]);

// QEMU's example: four pointers, the second null.
const four = vmstate({ name: "four", version: 1, fields: { ptrs: arrayOfPointers(struct(cell), 4) } });
const sent = { ptrs: [{ value: 0 }, null, { value: 2 }, { value: 3 }] };
const target = () => ({ ptrs: [{ value: 9 }, null, { value: 9 }, { value: 9 }] });
validTable("array of pointers", four, [
  {
    title: "the target says which are null",
    state: sent,
    hex: "00000000 30 00000002 00000003",
    into: target,
    // Saving checks against the same bytes; loading those needs the target again.
  },
]);
invalidTable("array of pointers", four, [
  // Correct: 30 for the second, which is null in the target.
  { hex: "00000000 00000001", code: "ERR_BAD_BYTE", path: "four/ptrs[1]", offset: 4, into: target },
  { title: "without a target all are null", hex: "00000000", code: "ERR_BAD_BYTE", path: "four/ptrs[0]", offset: 0 },
  { hex: "000000", code: "ERR_COUNT", path: "four/ptrs", offset: 0, into: target },
  { state: { ptrs: [null, null, null] }, code: "ERR_VALUE", path: "four/ptrs" },
  { state: { ptrs: [null, null, null, undefined] }, code: "ERR_VALUE", path: "four/ptrs[3]" },
  { state: { ptrs: [null, null, null, { value: "x" }] }, code: "ERR_VALUE", path: "four/ptrs[3]/cell/value" },
]);

const chosen = vmstate({
  name: "chosen",
  version: 1,
  fields: {
    mask: uint8(),
    ptrs: arrayOfPointers(uint8(), 3, { present: (at, { mask }) => (((mask as number) >> at) & 1) === 1 }),
  },
});
validTable("array of pointers that the stream itself tells", chosen, [
  { state: { mask: 5, ptrs: [7, null, 0x30] }, hex: "05 07 30 30" },
  { state: { mask: 0, ptrs: [null, null, null] }, hex: "00 30 30 30" },
]);

const counted = vmstate({
  name: "counted",
  version: 1,
  fields: { n: uint8(), ptrs: arrayOfPointers(uint8(), "n", { present: () => true }) },
});
validTable("counted array of pointers", counted, [{ state: { n: 2, ptrs: [1, 2] }, hex: "02 01 02" }]);
invalidTable("counted array of pointers", counted, [
  { hex: "ff 01 02", code: "ERR_COUNT", path: "counted/ptrs", offset: 1 },
]);

const marked = vmstate({ name: "marked", version: 1, fields: { ptrs: arrayOfMarkedPointers(struct(cell), 3) } });
validTable("array of marked pointers", marked, [
  { state: { ptrs: [{ value: 1 }, null, { value: 3 }] }, hex: "31 00000001 30 31 00000003" },
  { state: { ptrs: [null, null, null] }, hex: "30 30 30" },
]);
invalidTable("array of marked pointers", marked, [
  { hex: "31 00000001 00 31", code: "ERR_BAD_BYTE", path: "marked/ptrs[1]", offset: 5 },
  { hex: "30 30", code: "ERR_COUNT", path: "marked/ptrs", offset: 0 },
  { hex: "30 30 31 000000", code: "ERR_EOF", path: "marked/ptrs[2]/cell/value", offset: 3 },
  { state: { ptrs: null }, code: "ERR_VALUE", path: "marked/ptrs" },
]);
