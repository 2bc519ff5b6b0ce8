// The pure folders run where there is nothing but the language: bundled into one script and run in a bare realm that
// has no Node, no browser, and makes no code of strings.

import { join } from "node:path";
import { createContext, Script } from "node:vm";
import { build, type Rolldown } from "vite";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { listCprCaptures } from "../support/shared.ts";
import { makeProject, type Project, root } from "./project.ts";

let project: Project;

beforeAll(() => {
  project = makeProject([]);
});

afterAll(() => project.remove());

/** One script that leaves what `source` exports in the global `cprkit`. */
async function bundle(source: string): Promise<string> {
  project.write("entry.ts", source);
  const result = await build({
    configFile: false,
    root: project.folder,
    logLevel: "silent",
    build: {
      write: false,
      lib: { entry: join(project.folder, "entry.ts"), name: "cprkit", formats: ["iife"] },
      minify: "oxc",
    },
  });
  // Not watching, one format: an array of one output.
  const [output] = result as Rolldown.RolldownOutput[];
  const [chunk, ...more] = output?.output ?? [];
  if (chunk?.type !== "chunk" || more.length > 0) throw new Error("the bundler did not make one script");
  if (chunk.imports.length > 0) throw new Error(`the script imports ${chunk.imports.join()}`);
  return chunk.code;
}

const everything = ["vmstate", "cpr"].map((folder) => `export * from "${root}src/${folder}/index.ts";`).join("\n");
const forbidden =
  /["'`]node:|\brequire\s*\(|\bBuffer\s*[.(]|\bprocess\s*[.[]|\bkoffi\b|\bimport\s*\(|\bFunction\s*\(|\beval\s*\(/;

const namesNode = (script: string) => forbidden.test(script);

let code: string;

beforeAll(async () => {
  code = await bundle(everything);
});

/** Runs `script` after the bundle in a realm of its own; what it gives must be text. */
function inBareRealm(script: string): unknown {
  const context = createContext({}, { codeGeneration: { strings: false, wasm: false } });
  new Script(code).runInContext(context, { timeout: 10_000 });
  return new Script(script).runInContext(context, { timeout: 10_000 });
}

describe("the bundle of vmstate and cpr", () => {
  it("names nothing of Node", () => {
    expect(namesNode(code)).toBe(false);
    expect(code.length).toBeLessThan(100_000);
  });

  it("would be caught if it did", async () => {
    const reads = `import { readFileSync } from "node:fs"; export const read = () => readFileSync("x");`;
    expect(namesNode(await bundle(`${everything}\n${reads}`))).toBe(true);
    expect(namesNode(await bundle(`${everything}\nexport const bytes = (x) => Buffer.from(x);`))).toBe(true);
    expect(namesNode(await bundle(`${everything}\nexport const pid = () => process.pid;`))).toBe(true);
  });

  it("runs in a realm that has no Node and makes no code of strings", () => {
    expect(inBareRealm("[typeof Buffer, typeof process, typeof TextDecoder, typeof cprkit.loadCprState].join()")).toBe(
      "undefined,undefined,undefined,function",
    );
    expect(() => inBareRealm("eval('1')")).toThrow(/Code generation from strings disallowed/);
  });

  it.each(listCprCaptures())("reads and writes $name there", ({ bytes, sidecar }) => {
    const script = `(() => {
      const bytes = new Uint8Array(${JSON.stringify([...bytes])});
      const { state, fdForm } = cprkit.loadCprState({ bytes });
      const hash = cprkit.saveCprState(state, { abi: "hash", fdForm });
      const again = cprkit.loadCprState({ bytes: hash.bytes });
      const list = cprkit.saveCprState(again.state, { fdForm });
      return JSON.stringify({ abi: again.abi, same: list.bytes.join() === bytes.join(), entries: state.entries() });
    })()`;
    const entries = sidecar.fds.map(({ name, id, fd }) => ({ name, id, fd: fd ?? -1 }));
    expect(JSON.parse(String(inBareRealm(script)))).toEqual({ abi: "hash", same: true, entries });
  });

  it("throws errors of its own there", () => {
    const script = `try { cprkit.loadCprState({ bytes: new Uint8Array([1, 2, 3, 4]) }); "read" } catch (e) { String(e) }`;
    expect(inBareRealm(script)).toBe(
      'CprkitError: byte 0 (0x0): not a CPR state: expected 51435052 ("QCPR"), found 01020304',
    );
  });
});
