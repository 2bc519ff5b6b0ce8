// The bytes of the format by hand, one form at a time: what is read, what is refused, and with which words.

import { describe, expect, it } from "vitest";
import { CprState, detectCprAbi, loadCprState, type QemuVersion, saveCprState } from "../../src/cpr/index.ts";
import { textBytes } from "../../src/vmstate/index.ts";
import { fromHex, header, key, stream, vfio } from "./bytes.ts";

const oneVfioDevice = "01 00000003 643000 00000007 00000002 00000005 00";
const d0 = { namelen: 3, name: "d0", devid: 7, ioasId: 2, hwptId: 5 };

const readable = [
  { title: "10.0, empty", bytes: stream("00"), abi: "list" },
  { title: "10.1 on, empty", bytes: stream("00", vfio, "00"), abi: "list", vfio: { devices: [] } },
  { title: "10.1 on without iommufd, empty", bytes: stream("00", vfio), abi: "list", vfio: { devices: undefined } },
  { title: "one entry", bytes: stream("01", key("ram0"), "20 00"), abi: "list", entries: [["ram0", 0, -1]] },
  {
    title: "one entry, 11.1",
    bytes: stream("01", key("ram0"), "20 00", vfio, "00"),
    abi: "list",
    entries: [["ram0", 0, -1]],
    vfio: { devices: [] },
  },
  {
    title: "one entry, without iommufd",
    bytes: stream("01", key("ram0"), "20 00", vfio),
    abi: "list",
    entries: [["ram0", 0, -1]],
    vfio: { devices: undefined },
  },
  {
    title: "one entry with its number",
    bytes: stream("01", key("ram0"), "0000001b 00", vfio, "00"),
    abi: "list",
    form: "number",
    entries: [["ram0", 0, 27]],
    vfio: { devices: [] },
  },
  { title: "id -1", bytes: stream("01 00000002 6100 ffffffff 20 00"), abi: "list", entries: [["a", -1, -1]] },
  {
    title: "id -2^31",
    bytes: stream("01", key("a", "80000000"), "20 00"),
    abi: "list",
    entries: [["a", -(2 ** 31), -1]],
  },
  {
    title: "id 2^31-1",
    bytes: stream("01", key("a", "7fffffff"), "20 00"),
    abi: "list",
    entries: [["a", 2 ** 31 - 1, -1]],
  },
  { title: "a name of no letter", bytes: stream("01", key(""), "20 00"), abi: "list", entries: [["", 0, -1]] },
  { title: "a vfio device", bytes: stream("00", vfio, oneVfioDevice), abi: "list", vfio: { devices: [d0] } },
  { title: "RFC, empty", bytes: stream("00000000 00"), abi: "hash" },
  {
    title: "RFC, empty, with subsection",
    bytes: stream("00000000 00", vfio, "00"),
    abi: "hash",
    vfio: { devices: [] },
  },
  {
    title: "RFC, empty, with a subsection of no body",
    bytes: stream("00000000 00", vfio),
    abi: "hash",
    vfio: { devices: undefined },
  },
  {
    title: "RFC, one entry",
    bytes: stream("00000001 01", key("ram0"), "20 00"),
    abi: "hash",
    entries: [["ram0", 0, -1]],
  },
  {
    title: "RFC, one entry with its number and a vfio device",
    bytes: stream("00000001 01", key("ram0"), "0000001b 00", vfio, oneVfioDevice),
    abi: "hash",
    form: "number",
    entries: [["ram0", 0, 27]],
    vfio: { devices: [d0] },
  },
] as const;

describe("a stream that is read", () => {
  it.each(readable)("$title", (vector) => {
    const { bytes, abi } = vector;
    const form = "form" in vector ? vector.form : "passed";
    const loaded = loadCprState({ bytes });
    expect([loaded.abi, loaded.fdForm]).toEqual([abi, form]);
    const entries = "entries" in vector ? vector.entries : [];
    expect(loaded.state.entries()).toEqual(entries.map(([name, id, fd]) => ({ name, id, fd })));
    expect(loaded.state.vfioDevices).toEqual("vfio" in vector ? vector.vfio : undefined);
    expect(saveCprState(loaded.state, { abi, fdForm: form }).bytes).toEqual(bytes);
  });

  it("tells where the first fd stands", () => {
    expect(detectCprAbi(stream("01", key("ram0"), "20 00")).firstFd).toBe(22);
    expect(detectCprAbi(stream("00000001 01", key("ram0"), "20 00")).firstFd).toBe(26);
    expect(detectCprAbi(stream("00")).firstFd).toBeUndefined();
  });
});

const refused: readonly (readonly [string, Uint8Array, string, number, RegExp])[] = [
  ["nothing at all", fromHex(""), "ERR_EOF", 0, /ends before the header/],
  ["half a header", fromHex("514350"), "ERR_EOF", 3, /ends before the header/],
  [
    "another magic",
    fromHex("5145564d 00000003 00"),
    "ERR_BAD_MAGIC",
    0,
    /expected 51435052 \("QCPR"\), found 5145564d/,
  ],
  ["another magic, short", fromHex("51ff"), "ERR_BAD_MAGIC", 0, /found 51ff/],
  ["a newer version", fromHex("51435052 00000002 00"), "ERR_VERSION_TOO_NEW", 4, /expected version 1 .* found 2/],
  ["an older version", fromHex("51435052 00000000 00"), "ERR_VERSION_TOO_OLD", 4, /expected version 1 .* found 0/],
  ["version 2^32-1", fromHex("51435052 ffffffff 00"), "ERR_VERSION_TOO_NEW", 4, /found 4294967295/],
  ["the header alone", fromHex(header), "ERR_EOF", 8, /ends before the list of fds/],
  ["a count of 0x515 without the mark", stream("00 00 05 15 43 01"), "ERR_AMBIGUOUS_ABI", 8, /neither the list ABI/],
  ["a count of 0 with the mark", stream("00000000 01", key("ram0"), "20 00"), "ERR_AMBIGUOUS_ABI", 8, /neither/],
  ["a count of 2^24", stream("01000000 01", key("ram0"), "20 00"), "ERR_BAD_BYTE", 18, /expected 20 .* found 61/],
  ["two zeros", stream("0000"), "ERR_EOF", 10, /ends before a count/],
  ["a hash table cut in its count", stream("000000"), "ERR_EOF", 11, /ends before a count/],
  ["02 as the first mark", stream("02", key("ram0"), "20 00"), "ERR_AMBIGUOUS_ABI", 8, /expected 00 or 01.* found 02/],
  [
    "02 as a later mark",
    stream("01", key("ram0"), "20 02", key("b"), "20 00"),
    "ERR_BAD_BYTE",
    23,
    /fds at byte 23 .*expected 00 or 01.* found 02|fds\[1\] at byte 23 .*expected 00 or 01.* found 02/,
  ],
  ["a name of no byte", stream("01 00000000 00000000 20 00"), "ERR_AMBIGUOUS_ABI", 9, /from 1 to 4096, found 0/],
  ["a name of 4097 bytes", stream("01 00001001"), "ERR_AMBIGUOUS_ABI", 9, /found 4097/],
  ["a name of 2^32-1 bytes", stream("01 ffffffff"), "ERR_AMBIGUOUS_ABI", 9, /found 4294967295/],
  ["a later name of no byte", stream("01", key("a"), "20 01 00000000 00000000 20 00"), "ERR_LIMIT", 21, /found 0/],
  ["a later name of 4097 bytes", stream("01", key("a"), "20 01 00001001"), "ERR_LIMIT", 21, /found 4097/],
  ["a later name of 2^31 bytes", stream("01", key("a"), "20 01 80000000"), "ERR_LIMIT", 25, /found 2147483648/],
  ["a later name of 2^32-1 bytes", stream("01", key("a"), "20 01 ffffffff"), "ERR_LIMIT", 25, /found 4294967295/],
  ["a name longer than the stream", stream("01", key("a"), "20 01 00000064 6100"), "ERR_EOF", 25, /needed 100 bytes/],
  ["a name without NUL", stream("01 00000002 6161 00000000 20 00"), "ERR_BAD_BYTE", 14, /expected the final NUL/],
  ["a NUL within a name", stream("01 00000003 610000 00000000 20 00"), "ERR_BAD_BYTE", 14, /NUL before the end/],
  ["another byte for an fd", stream("01", key("a"), "21 00"), "ERR_BAD_BYTE", 19, /expected 20 .* found 21/],
  ["a number of an fd from 2^24 on", stream("01", key("a"), "01000000 00"), "ERR_BAD_BYTE", 19, /found 01/],
  ["a negative number of an fd", stream("01", key("a"), "ffffffff 00"), "ERR_BAD_BYTE", 19, /found ff/],
  [
    "a later negative number of an fd",
    stream("01", key("a"), "00000005 01", key("b"), "ffffffff 00"),
    "ERR_RANGE",
    34,
    /expected the number of an open fd, found -1/,
  ],
  [
    "numbers and places mixed",
    stream("01", key("a"), "20 01", key("b"), "00000005 00"),
    "ERR_BAD_BYTE",
    31,
    /found 00/,
  ],
  [
    "an unknown subsection",
    stream("01", key("a"), "20 00 05 0a 43707253746174652f78 00000001"),
    "ERR_UNKNOWN_SUBSECTION",
    21,
    /subsection "CprState\/x"/,
  ],
  [
    "an unknown subsection of an empty list",
    stream("00 05 0a 43707253746174652f78 00000001"),
    "ERR_UNKNOWN_SUBSECTION",
    9,
    /subsection "CprState\/x"/,
  ],
  [
    "a subsection of somebody else",
    stream("01", key("a"), "20 00 05 02 6162 00000001"),
    "ERR_TRAILING_BYTES",
    21,
    /8 more bytes/,
  ],
  ["a subsection in a newer version", stream("00", vfio.slice(0, -1), "2 00"), "ERR_VERSION_TOO_NEW", 36, /version 2/],
  ["a subsection in version 2^32-1", stream("00", vfio.slice(0, -8), "ffffffff 00"), "ERR_RANGE", 32, /4294967295/],
  ["a subsection cut in its name", stream("01", key("a"), "20 00 05 15 437072"), "ERR_EOF", 26, /subsection's name/],
  ["a subsection of an empty list cut in its name", stream("00 05 15 437072"), "ERR_EOF", 14, /subsection's name/],
  ["a subsection twice", stream("00", vfio, "00", vfio, "00"), "ERR_DUPLICATE", 64, /more than once/],
  ["a subsection twice, the second of no body", stream("00", vfio, "00", vfio), "ERR_DUPLICATE", 64, /more than once/],
  ["bytes behind the list", stream("00 ", vfio, "00 00"), "ERR_TRAILING_BYTES", 37, /1 more bytes/],
  ["a vfio device cut", stream("00", vfio, "01 00000003 643000 00000007 0000"), "ERR_EOF", 48, /ioasId at byte 48/],
  ["a hash table of one entry that has none", stream("00000001 00"), "ERR_AMBIGUOUS_ABI", 8, /neither/],
  [
    "a hash table with one entry more than its count",
    stream("00000001 01", key("a"), "20 01", key("b"), "20 00"),
    "ERR_COUNT",
    24,
    /announced 1 entries, and here begins one more/,
  ],
  [
    "a hash table with one entry less than its count",
    stream("00000002 01", key("a"), "20 00"),
    "ERR_COUNT",
    24,
    /announced 2 entries, but ends after 1/,
  ],
  [
    "a hash table that announces 2^24-1 entries",
    stream("00ffffff 01", key("a"), "20 00"),
    "ERR_COUNT",
    8,
    /announces 16777215 entries, but only 13 bytes follow/,
  ],
];

describe("a stream that is refused", () => {
  it.each(refused)("%s", (_title, bytes, code, offset, message) => {
    expect(() => loadCprState({ bytes })).toThrow(
      expect.objectContaining({ code, offset, message: expect.stringMatching(message) }),
    );
  });

  it("names its fields", () => {
    const bytes = stream("01", key("a"), "20 01 00001001");
    expect(() => loadCprState({ bytes })).toThrow(expect.objectContaining({ path: "CprState/fds[1]/cpr fd/name" }));
  });

  it("never shows raw control characters of a name", () => {
    const bytes = stream("01 00000003 1b0a00 00000000 20 01 00000003 1b0a00 00000000 20 00");
    expect(loadCprState({ bytes }).warnings).toEqual([
      '"\\u001b\\n" id 0 appears more than once: the first one counts',
    ]);
  });
});

describe("a key that appears more than once", () => {
  const fds = [11, 12, 13, 14].map((fd) => ({ offset: 0, fd }));
  const entries = [key("a"), key("b"), key("a"), key("a", "00000001")];
  const list = stream(...entries.map((entry) => `01 ${entry} 20`), "00");
  const hash = stream("00000004", ...entries.map((entry) => `01 ${entry} 20`), "00");

  it.each([["list", list] as const, ["hash", hash] as const])(
    "is taken once from a %s: the first counts",
    (abi, bytes) => {
      const { state, dropped, warnings, ...loaded } = loadCprState({ bytes, fds });
      expect(loaded.abi).toBe(abi);
      expect(state.entries()).toEqual([
        { name: "a", id: 0, fd: 11 },
        { name: "b", id: 0, fd: 12 },
        { name: "a", id: 1, fd: 14 },
      ]);
      expect(dropped).toEqual([{ name: "a", id: 0, fd: 13 }]);
      expect(warnings).toEqual(['"a" id 0 appears more than once: the first one counts']);
      const again = loadCprState(saveCprState(state, { abi }));
      expect([again.state.entries(), again.dropped, again.warnings]).toEqual([state.entries(), [], []]);
    },
  );

  it("loses no fd, however often it stands", () => {
    const count = 20_000;
    const bytes = stream(`01 ${key("a")} 20`.repeat(count), "00");
    const all = Array.from({ length: count }, (_, at) => ({ offset: 0, fd: 100 + at }));
    const { state, dropped } = loadCprState({ bytes, fds: all });
    expect(state.entries()).toEqual([{ name: "a", id: 0, fd: 100 }]);
    expect(dropped.map(({ fd }) => fd)).toEqual(all.slice(1).map(({ fd }) => fd));
  });
});

describe("a name that is not valid UTF-8", () => {
  const names = [
    "ff",
    "c3",
    "c328",
    "eda080",
    "f4908080",
    "c0af",
    "e282",
    "80",
    "f09f9880",
    "c3a9ff7f",
    "edb280",
    "efbfbd",
  ];

  it.each(names)("%s survives byte for byte, in both ABIs", (hex) => {
    const length = (hex.length / 2 + 1).toString(16).padStart(8, "0");
    const bytes = stream(`01 ${length} ${hex}00 00000000 20 00`);
    const { state } = loadCprState({ bytes });
    expect(saveCprState(state).bytes).toEqual(bytes);
    const hash = loadCprState(withoutFds(saveCprState(state, { abi: "hash" })));
    expect(saveCprState(hash.state).bytes).toEqual(bytes);
    const [entry] = state.entries();
    expect(textBytes(entry?.name ?? "")).toEqual(fromHex(hex));
    expect(state.findFd(entry?.name ?? "", 0)).toBe(-1);
    expect(state.has(entry?.name ?? "", 0)).toBe(true);
  });

  it("is never taken for another one", () => {
    const bytes = stream(
      ...names.map((hex) => `01 ${(hex.length / 2 + 1).toString(16).padStart(8, "0")} ${hex}00 00000000 20`),
      "00",
    );
    const { state, dropped } = loadCprState({ bytes });
    expect([state.size, dropped]).toEqual([names.length, []]);
  });
});

describe("a state for a chosen QEMU", () => {
  const withDevice = () => loadCprState({ bytes: stream("01", key("ram0"), "20 00", vfio, oneVfioDevice) }).state;
  const empty = () => loadCprState({ bytes: stream("01", key("ram0"), "20 00", vfio, "00") }).state;
  const noBody = () => loadCprState({ bytes: stream("01", key("ram0"), "20 00", vfio) }).state;
  const old = () => loadCprState({ bytes: stream("01", key("ram0"), "20 00") }).state;
  const bytesOfOld = stream("01", key("ram0"), "20 00");
  const bytesOfNew = stream("01", key("ram0"), "20 00", vfio, "00");

  it.each(["10.0", "10.0.2"] as const)("%s has no subsection", (forVersion) => {
    for (const make of [empty, noBody, old]) expect(saveCprState(make(), { forVersion }).bytes).toEqual(bytesOfOld);
    expect(() => saveCprState(withDevice(), { forVersion })).toThrow(
      expect.objectContaining({ code: "ERR_NOT_FOR_VERSION", message: expect.stringContaining("this one has 1") }),
    );
  });

  it.each(["10.1", "10.2.1", "11.0", "11.1", "12.0"] as const)("%s has it always", (forVersion) => {
    for (const make of [empty, noBody, old]) expect(saveCprState(make(), { forVersion }).bytes).toEqual(bytesOfNew);
    expect(saveCprState(withDevice(), { forVersion }).bytes).toEqual(
      stream("01", key("ram0"), "20 00", vfio, oneVfioDevice),
    );
  });

  it.each(["9.2", "0.1", "8.2.0"] as const)("%s cannot: it has no CPR transfer", (forVersion) => {
    expect(() => saveCprState(old(), { forVersion })).toThrow(expect.objectContaining({ code: "ERR_NOT_FOR_VERSION" }));
  });

  it.each(["", "10", "10.x", "10.0.0.1", " 10.0", "-10.0"])("%j is no version", (forVersion) => {
    expect(() => saveCprState(old(), { forVersion: forVersion as QemuVersion })).toThrow(
      expect.objectContaining({
        code: "ERR_NOT_FOR_VERSION",
        message: expect.stringContaining("not a version of QEMU"),
      }),
    );
  });

  it.each(["10.0", "11.1"] as const)("%s reads no hash table", (forVersion) => {
    expect(() => saveCprState(old(), { forVersion, abi: "hash" })).toThrow(
      expect.objectContaining({ code: "ERR_NOT_FOR_VERSION", message: expect.stringContaining("reads the list ABI") }),
    );
  });

  it("leaves the state as it was, also when it is refused", () => {
    const state = withDevice();
    expect(() => saveCprState(state, { forVersion: "10.0" })).toThrow();
    expect(state.vfioDevices).toEqual({ devices: [d0] });
    const second = old();
    saveCprState(second, { forVersion: "11.1" });
    expect(second.vfioDevices).toBeUndefined();
    expect(saveCprState(second).bytes).toEqual(bytesOfOld);
  });
});

describe("a state that cannot be saved", () => {
  it("has an fd that is not known, and would be a number", () => {
    const { state } = loadCprState({ bytes: stream("01", key("ram0"), "20 00") });
    expect(() => saveCprState(state, { fdForm: "number" })).toThrow(
      expect.objectContaining({ code: "ERR_VALUE", path: "CprState/fds[0]/cpr fd/fd" }),
    );
  });

  it("has a name of more than 4095 bytes", () => {
    const state = new CprState();
    state.saveFd("n".repeat(4095), 0, 5);
    expect(loadCprState(saveCprState(state)).state.findFd("n".repeat(4095), 0)).toBe(5);
    state.saveFd(`${"n".repeat(4094)}é`, 0, 6);
    expect(() => saveCprState(state)).toThrow(expect.objectContaining({ code: "ERR_VALUE" }));
  });
});

function withoutFds({ bytes }: { readonly bytes: Uint8Array }): { readonly bytes: Uint8Array } {
  return { bytes };
}
