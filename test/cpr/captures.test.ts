// Every stream that real QEMU wrote: read in full, and written again to the same bytes.

import { describe, expect, it } from "vitest";
import { type LoadedCpr, loadCprState, saveCprState } from "../../src/cpr/index.ts";
import type { Observer } from "../../src/vmstate/index.ts";
import { captures, fdsAsReceived, fdsAtTheirBytes } from "./captures.ts";

describe("the captures", () => {
  it("are there: 16 of cpr-transfer, 4 of cpr-exec, none of them empty", () => {
    expect(captures.filter(({ form }) => form === "passed").length).toBe(16);
    expect(captures.filter(({ form }) => form === "number").length).toBe(4);
    for (const { sidecar } of captures) expect(sidecar.fds.length).toBeGreaterThan(0);
  });
});

describe.each(captures)("$name", (capture) => {
  const { bytes, form, sidecar } = capture;

  it("lists the names, ids and fds of its sidecar, in the order of the stream", () => {
    const { state, abi, fdForm, dropped, warnings } = loadCprState({ bytes });
    expect({ abi, fdForm, dropped, warnings }).toEqual({ abi: "list", fdForm: form, dropped: [], warnings: [] });
    expect(state.entries()).toEqual(sidecar.fds.map(({ name, id, fd }) => ({ name, id, fd: fd ?? -1 })));
    for (const { name, id, fd } of sidecar.fds) expect(state.findFd(name, id)).toBe(fd ?? -1);
    expect(state.size).toBe(sidecar.fds.length);
  });

  it("has its fds at the byte offsets of its sidecar", () => {
    const offsets: number[] = [];
    const observer: Observer = {
      enter: (_label, type, offset) => {
        if (type === "fd") offsets.push(offset);
      },
      leave: () => {},
    };
    loadCprState({ bytes }, { observer });
    expect(offsets).toEqual(sidecar.fds.map(({ byteOffset }) => byteOffset));
  });

  it("has the subsection if QEMU 11.1 wrote it, and none if 10.0 did", () => {
    const { state } = loadCprState({ bytes });
    const expected = sidecar.subsections.length === 0 ? undefined : { devices: [] };
    expect(state.vfioDevices).toEqual(expected);
    for (const { name, bodyHex } of sidecar.subsections)
      expect([name, bodyHex]).toEqual(["CprState/vfio devices", "00"]);
  });

  it("saves back to the same bytes, and by way of the hash ABI too", () => {
    const list = loadCprState({ bytes });
    expect(saved(list)).toEqual(bytes);
    const hash = saveCprState(list.state, { abi: "hash", fdForm: form });
    const again = loadCprState({ bytes: hash.bytes });
    expect(again.abi).toBe("hash");
    expect(saved(again, "hash")).toEqual(hash.bytes);
    expect(again.state.entries()).toEqual(list.state.entries());
    expect(saveCprState(again.state, { fdForm: form }).bytes).toEqual(bytes);
  });

  it("may be a part of a larger array", () => {
    const larger = new Uint8Array(bytes.length + 20).fill(0xaa);
    larger.set(bytes, 7);
    expect(saved(loadCprState({ bytes: larger.subarray(7, 7 + bytes.length) }))).toEqual(bytes);
  });

  it("refuses to be read in the other form of fds", () => {
    const fdForm = form === "passed" ? "number" : "passed";
    expect(() => loadCprState({ bytes }, { fdForm })).toThrow(/cpr-(exec|transfer)\), found one with/);
    expect(loadCprState({ bytes }, { fdForm: form }).fdForm).toBe(form);
  });
});

describe.each(captures.filter(({ form }) => form === "passed"))("$name with fds", (capture) => {
  const { bytes, sidecar } = capture;

  it("gives each entry its own fd, and saves them at their bytes", () => {
    const fds = fdsAtTheirBytes(capture);
    const { state } = loadCprState({ bytes, fds });
    expect(state.entries()).toEqual(sidecar.fds.map(({ name, id }, at) => ({ name, id, fd: 100 + at })));
    const output = saveCprState(state);
    expect(output.bytes).toEqual(bytes);
    expect(output.fds).toEqual(fds);
  });

  it("takes fds that came early, as recvmsg gave them to the recorder", () => {
    const fds = fdsAsReceived(capture);
    expect(fds.length).toBe(sidecar.fds.length);
    const { state } = loadCprState({ bytes, fds });
    expect(state.entries().map(({ fd }) => fd)).toEqual(fds.map(({ fd }) => fd));
    expect(saveCprState(state).fds).toEqual(fdsAtTheirBytes(capture));
  });

  it("takes fds that all came with the first byte", () => {
    const fds = fdsAtTheirBytes(capture).map(({ fd }) => ({ offset: 0, fd }));
    expect(saveCprState(loadCprState({ bytes, fds }).state).fds).toEqual(fdsAtTheirBytes(capture));
  });

  it("refuses each fd that came a byte late", () => {
    const fds = fdsAtTheirBytes(capture);
    for (let at = 0; at < fds.length; at++) {
      const late = fds.map((passed, i) => (i === at ? { ...passed, offset: passed.offset + 1 } : passed));
      expect(() => loadCprState({ bytes, fds: late })).toThrow(
        expect.objectContaining({
          code: "ERR_FD_MISSING",
          offset: fds[at]?.offset,
          path: `CprState/fds[${at}]/cpr fd/fd`,
        }),
      );
    }
  });

  it("refuses an fd too few and an fd too many", () => {
    const fds = fdsAtTheirBytes(capture);
    const last = fds.length - 1;
    expect(() => loadCprState({ bytes, fds: fds.slice(0, last) })).toThrow(
      expect.objectContaining({ code: "ERR_FD_MISSING", offset: fds[last]?.offset }),
    );
    expect(() => loadCprState({ bytes, fds: [...fds, { offset: 8, fd: 999 }] })).toThrow(
      expect.objectContaining({ code: "ERR_FD_SURPLUS" }),
    );
  });
});

describe.each(captures.filter(({ form }) => form === "number"))("$name with fds beside it", ({ bytes }) => {
  it("refuses them: its fds are numbers in the stream", () => {
    expect(() => loadCprState({ bytes, fds: [{ offset: 0, fd: 5 }] })).toThrow(
      expect.objectContaining({ code: "ERR_FD_SURPLUS" }),
    );
  });
});

function saved({ state, fdForm }: LoadedCpr, abi: "list" | "hash" = "list"): Uint8Array {
  return saveCprState(state, { abi, fdForm }).bytes;
}
