// Measures the structures of tables.mjs and CprState, each in a process of its own:
//
//   npm run build && node bench/structures/run.mjs [N ...]
//
// ns for a look-up in random order (string objects of its own; names rebuilt), for a miss and for an
// add, least of several rounds.
import { execFileSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import { CprState } from "../../dist/cpr/index.js";
import { benchKeys, lookUpOrder, ownString } from "../dist/keys.js";
import * as structures from "./tables.mjs";

const tables = { ...structures };
const [name, size] = process.argv.slice(2);
if (name in tables || name === "CprState") {
  console.log(JSON.stringify(measure(name, Number(size))));
} else {
  const sizes = process.argv.length > 2 ? process.argv.slice(2) : ["540", "7530", "100000", "1000000"];
  for (const n of sizes) {
    for (const each of [...Object.keys(tables), "CprState"]) {
      const out = execFileSync(process.execPath, [fileURLToPath(import.meta.url), each, n]);
      const found = JSON.parse(out.toString());
      const columns = Object.entries(found).map(([key, value]) => `${key} ${value.toFixed(1).padStart(7)}`);
      console.log(`${n.padStart(8)}  ${each.padEnd(22)} ${columns.join("  ")}`);
    }
  }
}

function make(kind) {
  if (kind !== "CprState") return new tables[kind]();
  const state = new CprState();
  return { get: (n, id) => state.findFd(n, id), add: (n, id, fd) => state.saveFd(n, id, fd) };
}

function measure(kind, n) {
  const keys = benchKeys(n);
  const fill = () => {
    const table = make(kind);
    for (let at = 0; at < n; at++) table.add(keys[at].name, keys[at].id, at);
    return table;
  };
  const table = fill();
  const order = lookUpOrder(n);
  const names = Array.from(order, (at) => ownString(keys[at].name));
  const ids = Int32Array.from(order, (at) => keys[at].id);
  const cuts = names.map((text) => Math.max(text.lastIndexOf("_"), text.lastIndexOf("/"), 0));
  const shared = new Map();
  const part = (text) => {
    if (!shared.has(text)) shared.set(text, ownString(text));
    return shared.get(text);
  };
  const devices = names.map((text, at) => part(text.slice(0, cuts[at])));
  const rests = names.map((text, at) => part(text.slice(cuts[at])));
  const strangers = names.map((text, at) => (at % 2 === 0 ? text : ownString(`${text}?`)));
  let check = 0;
  const passes = Math.ceil(20_000 / n);
  const held = least(n * passes, () => {
    for (let pass = 0; pass < passes; pass++)
      for (let at = 0; at < n; at++) check = (Math.imul(check, 31) + table.get(names[at], ids[at])) | 0;
  });
  const fresh = least(n * passes, () => {
    for (let pass = 0; pass < passes; pass++)
      for (let at = 0; at < n; at++) check = (Math.imul(check, 31) + table.get(devices[at] + rests[at], ids[at])) | 0;
  });
  const miss = least(n * passes, () => {
    for (let pass = 0; pass < passes; pass++)
      for (let at = 0; at < n; at++)
        check = (Math.imul(check, 31) + table.get(strangers[at], ids[at] ^ (at % 2 === 0 ? 0x40000000 : 0))) | 0;
  });
  const add = least(n, fill);
  if (check === 1) throw new Error("never");
  return { held, fresh, miss, add };
}

function least(ops, work) {
  let best = Infinity;
  const end = performance.now() + 400;
  for (let round = 0; round < 5 || (round < 60 && performance.now() < end); round++) {
    const start = process.hrtime.bigint();
    work();
    best = Math.min(best, Number(process.hrtime.bigint() - start));
  }
  return best / ops;
}
