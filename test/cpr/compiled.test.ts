// CprState by code made of its descriptions: every captured stream, whole and damaged, as by the engine.

import { isDeepStrictEqual } from "node:util";
import { describe, expect, it } from "vitest";
import { fdHash, fdList } from "../../src/cpr/fd-lists.ts";
import { CprState, cprStateHash, cprStateList, detectCprAbi, loadCprState, saveCprState } from "../../src/cpr/index.ts";
import { compile, useCompiled } from "../../src/vmstate/compile/index.ts";
import { isCprkitError, loadFrom, type Output, Reader, saveTo, Writer } from "../../src/vmstate/index.ts";
import { seeded } from "../support/random.ts";
import { captures, fdsAtTheirBytes } from "./captures.ts";
import { mutate } from "./mutate.ts";

const header = 8;
const list = compile(cprStateList);
const hash = compile(cprStateHash);

const streams = captures.flatMap((capture) => {
  const { bytes, form, name } = capture;
  const fds = form === "passed" ? fdsAtTheirBytes(capture) : [];
  const { state } = loadCprState({ bytes, fds });
  const other = saveCprState(state, { abi: "hash", fdForm: form });
  return [
    { name, form, abi: "list" as const, bytes, fds },
    { name: `${name} as a hash table`, form, abi: "hash" as const, bytes: other.bytes, fds: other.fds },
  ];
});

describe.each(streams)("$name", ({ form, abi, bytes, fds }) => {
  it("is loaded and saved as by the engine, whole and damaged in 250 ways", () => {
    let errors = 0;
    for (let at = 0; at < 250; at++) {
      const damaged =
        at === 0 ? bytes : mutate({ bytes, boundaries: [header, bytes.length], countAt: undefined }, seeded(at));
      if (damaged.length < header) continue;
      const read = (compiled: boolean) => {
        const reader = new Reader({ bytes: damaged, fdForm: form, ...(at % 3 === 0 ? {} : { fds }) });
        reader.pos = header;
        const into = { live: new CprState() };
        try {
          const options = { into };
          if (compiled) abi === "list" ? list.loadFrom(reader, options) : hash.loadFrom(reader, options);
          else abi === "list" ? loadFrom(reader, cprStateList, options) : loadFrom(reader, cprStateHash, options);
          const { live } = into;
          return { entries: live.entries(), vfio: live.vfioDevices, pos: reader.pos, taken: reader.fdsTaken, live };
        } catch (error) {
          if (!isCprkitError(error)) throw error;
          return { code: error.code, path: error.path, offset: error.offset, message: error.message };
        }
      };
      const [engine, made] = [read(false), read(true)];
      if (!("live" in engine) || !("live" in made)) {
        errors++;
        expect(made).toEqual(engine);
        continue;
      }
      const { live, ...loaded } = engine;
      const { live: again, ...loadedAgain } = made;
      if (!isDeepStrictEqual(loaded, loadedAgain)) expect(loadedAgain).toEqual(loaded);
      const write = (state: CprState, save: (writer: Writer, state: CprState) => void): Output => {
        const writer = new Writer(form);
        save(writer, state);
        return writer.finish();
      };
      const unknown = form === "number" && live.entries().some(({ fd }) => fd < 0);
      if (unknown) continue;
      const first = write(live, (writer, state) =>
        abi === "list"
          ? saveTo(writer, cprStateList, { live: state, fds: fdList(state) })
          : saveTo(writer, cprStateHash, { live: state, fds: fdHash(state) }),
      );
      const second = write(again, (writer, state) =>
        abi === "list"
          ? list.saveTo(writer, { live: state, fds: fdList(state) })
          : hash.saveTo(writer, { live: state, fds: fdHash(state) }),
      );
      expect(Buffer.from(second.bytes).equals(first.bytes)).toBe(true);
      expect(second.fds).toEqual(first.fds);
    }
    expect(errors).toBeGreaterThan(50);
  });
});

it("a large state is the same with and without it", () => {
  const state = new CprState();
  for (let at = 0; at < 5000; at++) state.saveFd(`0000:0${at % 7}:00.0_interrupt-${at >> 5}`, at, at + 10);
  for (const abi of ["list", "hash"] as const) {
    for (const fdForm of ["passed", "number"] as const) {
      const before = saveCprState(state, { abi, fdForm });
      expect(detectCprAbi(before.bytes).abi).toBe(abi);
      useCompiled();
      const after = saveCprState(state, { abi, fdForm });
      expect(Buffer.from(after.bytes).equals(before.bytes)).toBe(true);
      expect(isDeepStrictEqual(after.fds, before.fds)).toBe(true);
      const loaded = loadCprState(fdForm === "passed" ? after : { bytes: after.bytes });
      expect(isDeepStrictEqual(loaded.state.entries(), state.entries())).toBe(true);
      const cut = { bytes: after.bytes.subarray(0, -40), fds: after.fds };
      expect(() => loadCprState(cut)).toThrow(expect.objectContaining({ code: "ERR_EOF" }));
    }
  }
});
