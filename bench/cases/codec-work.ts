// The cases of the codec: a CprState written to bytes and read back, in both ABIs, with its fds beside the bytes.

import { useCompiled } from "cprkit/compile";
import { CprState, loadCprState, saveCprState } from "cprkit/cpr";
import { benchKeys } from "./keys.ts";
import { timed, type Work } from "./measured.ts";

// As receiving a state of that size does; a program that saves and loads them itself calls it once.
useCompiled();

export function codecWork(n: number, abi: "list" | "hash", what: "save" | "load"): Work {
  const state = new CprState();
  for (const [fd, { name, id }] of benchKeys(n).entries()) state.saveFd(name, id, fd);
  const output = saveCprState(state, { abi });
  const bytes = output.bytes.length;
  const passes = Math.max(1, Math.floor(20_000 / n));
  let saved = output;
  let loaded = state;
  const saveAll = () => {
    for (let pass = 0; pass < passes; pass++) saved = saveCprState(state, { abi });
    return saved.bytes.length;
  };
  const loadAll = () => {
    for (let pass = 0; pass < passes; pass++) loaded = loadCprState(output).state;
    return loaded.size;
  };
  return {
    ops: n * passes,
    bytes,
    round: () => {
      const { ns } = timed(what === "save" ? saveAll : loadAll);
      return { ns, check: what === "save" ? sumOf(saved.bytes) : checkOf(loaded) };
    },
  };
}

/** Sum of the bytes. */
function sumOf(bytes: Uint8Array): number {
  let sum = 0;
  for (const byte of bytes) sum += byte;
  return sum >>> 0;
}

/** Sum over the fds of (djb2(name) XOR id) * 31 + fd. */
function checkOf(state: CprState): number {
  let sum = 0;
  for (const { name, id, fd } of state) {
    let hash = 5381;
    for (let at = 0; at < name.length; at++) hash = (Math.imul(hash, 33) + name.charCodeAt(at)) | 0;
    sum = (sum + Math.imul(hash ^ id, 31) + fd) | 0;
  }
  return sum >>> 0;
}
