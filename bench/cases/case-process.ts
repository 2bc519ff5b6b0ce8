// One case in a process of its own, so that no other case has warmed the engine up for it:
// node --expose-gc case-process.js CASE N ROUNDS. Prints one line of JSON.

import { codecWork } from "./codec-work.ts";
import { execAcross } from "./exec-work.ts";
import { type Measured, measure, type Work } from "./measured.ts";
import { ghashWork, nestedWork, recordWork } from "./record-work.ts";
import { changeWork, findWork, startWork, tableMemory } from "./table-work.ts";
import { transferWork } from "./transfer-work.ts";

const [name = "", size = "0", rounds = "7"] = process.argv.slice(2);
const n = Number(size);

const works: Readonly<Record<string, () => Work | Promise<Work>>> = {
  "list.find": () => findWork(n, "list", "shuffled"),
  "hash.find": () => findWork(n, "hash", "shuffled"),
  "hash.find_in_order": () => findWork(n, "hash", "in order"),
  "hash.find_fresh": () => findWork(n, "hash", "fresh"),
  "hash.miss": () => findWork(n, "hash", "miss"),
  "hash.save": () => changeWork(n, "save"),
  "hash.delete": () => changeWork(n, "delete"),
  "codec.list.save": () => codecWork(n, "list", "save"),
  "codec.list.load": () => codecWork(n, "list", "load"),
  "codec.hash.save": () => codecWork(n, "hash", "save"),
  "codec.hash.load": () => codecWork(n, "hash", "load"),
  ...recordWorks(),
  "transfer.16": () => transferWork(n, 16),
  "transfer.253": () => transferWork(n, 253),
};

/** Such as "records.load.msgpackr". */
function recordWorks(): Record<string, () => Work | Promise<Work>> {
  const all: Record<string, () => Work | Promise<Work>> = {};
  for (const what of ["load", "save"] as const) {
    for (const way of ["compiled", "engine", "hand"] as const) {
      all[`records.${what}.${way}`] = () => recordWork(n, way, what);
      all[`nested.${what}.${way}`] = () => nestedWork(n, way, what);
      all[`ghash.${what}.${way}`] = () => ghashWork(n, way, what);
    }
    for (const way of ["msgpackr", "avsc", "protobufjs", "protobuf-es"] as const)
      all[`records.${what}.${way}`] = () => recordWork(n, way, what);
  }
  return all;
}

const others: Readonly<Record<string, () => Measured>> = {
  "hash.memory": () => tableMemory(name, n),
  "start.list": () => started("list"),
  "start.hash": () => started("hash"),
  "exec.cprkit": () => execAcross(name, n, "cprkit"),
  "exec.each": () => execAcross(name, n, "a call an fd"),
  "exec.nothing": () => execAcross(name, n, "nothing"),
};

const make = works[name];
const other = others[name];
if (make === undefined && other === undefined) throw new Error(`there is no case ${JSON.stringify(name)}`);
const result = make === undefined ? other?.() : await measure(name, n, Number(rounds), await make());
process.stdout.write(`${JSON.stringify(result)}\n`);

function started(kind: "list" | "hash"): Measured {
  const { ns, check } = startWork(n, kind);
  return { case: name, n, rounds: 1, ops: n, samples_ns: [ns], check };
}
