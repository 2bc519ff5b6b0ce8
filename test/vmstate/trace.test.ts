// Spans: where every field stands, under the same path that an error there would have.
import { expect, test } from "vitest";
import {
  array,
  arrayOfMarkedPointers,
  cstring,
  fd,
  ghashDirectKey,
  int32,
  isCprkitError,
  load,
  qlist,
  spanRecorder,
  struct,
  trace,
  uint8,
  uint32,
  vmstate,
} from "../../src/vmstate/index.ts";
import { bytesOf, caught } from "./table.ts";

const cprFd = vmstate({
  name: "cpr fd",
  version: 1,
  fields: { namelen: uint32(), name: cstring("namelen", 64), id: int32(), fd: fd() },
});
const vfio = vmstate({ name: "CprState/vfio devices", version: 1, fields: { devices: qlist(cprFd) } });
const cpr = vmstate({ name: "CprState", version: 1, fields: { fds: qlist(cprFd) }, subsections: { vfio } });
const bytes = bytesOf("01 00000002 6100 00000007 20 00 05 15 43707253746174652f7666696f2064657669636573 00000001 00");

test("a CPR state, span by span", () => {
  const { state, spans } = trace(cpr, { bytes });
  expect(state).toEqual({ fds: [{ namelen: 2, name: "a", id: 7, fd: -1 }], vfio: { devices: [] } });
  expect(spans.map(({ path, type, start, end, depth }) => [path, type, start, end, depth])).toEqual([
    ["CprState/fds", "qlist", 0, 13, 0],
    ["CprState/fds[0]", "cpr fd", 1, 12, 1],
    ["CprState/fds[0]/cpr fd/namelen", "uint32", 1, 5, 2],
    ["CprState/fds[0]/cpr fd/name", "buffer", 5, 7, 2],
    ["CprState/fds[0]/cpr fd/id", "int32", 7, 11, 2],
    ["CprState/fds[0]/cpr fd/fd", "fd", 11, 12, 2],
    ["CprState/CprState/vfio devices", "subsection", 13, 41, 0],
    ["CprState/CprState/vfio devices/devices", "qlist", 40, 41, 1],
  ]);
  expect(spans[3]?.value).toBe("a");
});

test("arrays, structures, pointers and tables", () => {
  const cell = vmstate({ name: "cell", version: 1, fields: { x: uint8() } });
  const all = vmstate({
    name: "all",
    version: 1,
    fields: {
      one: struct(cell),
      many: array(struct(cell), 2),
      ptrs: arrayOfMarkedPointers(struct(cell), 2),
      table: ghashDirectKey({ value: cell }),
    },
  });
  const { spans } = trace(all, {
    bytes: bytesOf("01 0203 3104 30 00000001 01 0000000000000009 05 00"),
    baseOffset: 100,
  });
  expect(spans.map(({ path, start, end }) => `${path} ${start} ${end}`)).toEqual([
    "all/one 100 101",
    "all/one/cell/x 100 101",
    "all/many 101 103",
    "all/many[0] 101 102",
    "all/many[0]/cell/x 101 102",
    "all/many[1] 102 103",
    "all/many[1]/cell/x 102 103",
    "all/ptrs 103 106",
    "all/ptrs[0] 103 105",
    "all/ptrs[0]/cell/marker 103 104",
    "all/ptrs[0]/cell/x 104 105",
    "all/ptrs[1] 105 106",
    "all/ptrs[1]/cell/marker 105 106",
    "all/table 106 121",
    "all/table[0] 111 120",
    "all/table[0]/key 111 119",
    "all/table[0]/value 119 120",
    "all/table[0]/value/cell/x 119 120",
  ]);
});

test("at every cut the last span that was entered is the error's place", () => {
  for (let length = 0; length < 12; length++) {
    const { observer, spans } = spanRecorder("CprState");
    const error = caught(() => load(cpr, { bytes: bytes.subarray(0, length) }, { observer }));
    if (!isCprkitError(error)) throw error;
    const open = spans.filter((span) => span.start === span.end).at(-1)?.path;
    // An element that was not begun has no span yet.
    expect(error.path.startsWith(open ?? "CprState"), `${length}: ${error.path} in ${open}`).toBe(true);
  }
});
