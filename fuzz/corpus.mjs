// The saved inputs of a target: one a line, as base64, in fuzz/corpus/TARGET.txt.

import { existsSync, readFileSync } from "node:fs";

/** @param {string} target */
export function unpacked(target) {
  const path = new URL(`corpus/${target}.txt`, import.meta.url);
  if (!existsSync(path)) return [];
  const lines = readFileSync(path, "utf8").trimEnd().split("\n");
  return lines.map((line) => new Uint8Array(Buffer.from(line, "base64")));
}

/** @param {readonly Uint8Array[]} inputs */
export function packed(inputs) {
  const lines = [...new Set(inputs.map((bytes) => Buffer.from(bytes).toString("base64")))];
  return lines
    .sort((a, b) => a.length - b.length || (a < b ? -1 : 1))
    .map((line) => `${line}\n`)
    .join("");
}
