// Run with --expose-gc and a young generation that a million small objects do not fill: prints the bytes by which the
// heap grew during a million look-ups of each kind.

import { getHeapStatistics } from "node:v8";
import { CprState, saveCprState } from "../../../dist/cpr/index.js";

const names = Array.from({ length: 1000 }, (_, at) => `device${at % 50}_interrupt${at % 2}`);
const state = new CprState();
const traced = new CprState({ trace: { wants: () => false, emit: () => process.exit(3) } });
const concatenated = new Map();
names.forEach((name, at) => {
  state.saveFd(name, at, at);
  traced.saveFd(name, at, at);
  concatenated.set(`${name}:${at}`, at);
});

let sum = 0;
const kinds = {
  found: (at) => state.findFd(names[at], at),
  absent: (at) => state.findFd(names[at], -1 - at),
  "traced, but unwanted": (at) => traced.findFd(names[at], at),
  "with a concatenated key": (at) => concatenated.get(`${names[at]}:${at}`),
};

const grown = {};
for (const [kind, find] of Object.entries(kinds)) {
  // The same loop for all, compiled for each by its own warm-up.
  const round = new Function(
    "find",
    "count",
    "let s = 0; for (let i = 0; i < count; i++) s += find(i % 1000); return s;",
  );
  sum += round(find, 200_000);
  globalThis.gc();
  const before = getHeapStatistics().used_heap_size;
  sum += round(find, 1_000_000);
  grown[kind] = getHeapStatistics().used_heap_size - before;
}
console.log(JSON.stringify({ grown, sum, bytes: saveCprState(state).bytes.length }));
