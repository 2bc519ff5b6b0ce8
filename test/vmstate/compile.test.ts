// Code made of a description does what the engine does. That every table of vectors comes to the same is shown where
// the tables are (table.ts runs both); here: what was damaged, what is not the description's own, and what must not be.
import { execFileSync } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, test } from "vitest";
import { compile } from "../../src/vmstate/compile/index.ts";
import { describe as describeParts } from "../../src/vmstate/description.ts";
import {
  type Description,
  type Field,
  load,
  qlist,
  Reader,
  save,
  struct,
  uint8,
  uint16,
  uint32,
  varray,
  vmstate,
  Writer,
} from "../../src/vmstate/index.ts";
import { compareBoth, subjects } from "./both.ts";
import { caught, codeOf, hexOf } from "./table.ts";

test("20,000 damaged inputs and states: the same result, or the same error at the same place", () => {
  const errors = compareBoth(subjects(), 20_000, 1);
  // Neither all fail, nor none.
  expect(errors).toBeGreaterThan(5_000);
  expect(errors).toBeLessThan(18_000);
});

test("the comparison sees a difference", () => {
  const [one] = subjects();
  const wrong = vmstate({ name: "scalars", version: 3, fields: { a: uint16() } });
  const other = { ...one, compiled: compile(wrong as unknown as Description<Record<string, unknown>>) };
  expect(() => compareBoth([other as ReturnType<typeof subjects>[number]], 100, 1)).toThrow(/engine .* compiled/);
});

describe("what it covers", () => {
  test("all of a plain body, some of one with a hook, a subsection or a kind of one's own, nothing of those alone", () => {
    const plain = { a: uint8(), b: uint16() };
    const own: Field<number> = { ...uint8(), load: (reader) => reader.uint8() ^ 1, save: (w, v) => w.uint8(v ^ 1) };
    const covers = (...[definition]: Parameters<typeof vmstate>) => compile(vmstate(definition)).covers;
    expect(covers({ name: "plain", version: 1, fields: plain })).toBe("all");
    expect(covers({ name: "hook", version: 1, fields: plain, postLoad: () => {} })).toBe("some");
    expect(covers({ name: "own", version: 1, fields: { ...plain, own } })).toBe("some");
    expect(covers({ name: "own alone", version: 1, fields: { own } })).toBe("nothing");
  });

  test("somebody's own kind and hooks are called as often as by the engine", () => {
    const calls: string[] = [];
    const own: Field<number> = {
      type: "uint8",
      load: (reader) => {
        calls.push("load");
        return reader.uint8();
      },
      save: (writer, value) => {
        calls.push("save");
        writer.uint8(value);
      },
    };
    const body = vmstate({
      name: "body",
      version: 1,
      fields: { a: uint8(), own, b: uint16() },
      postLoad: () => void calls.push("postLoad"),
      preSave: () => void calls.push("preSave"),
    });
    const list = compile(vmstate({ name: "list", version: 1, fields: { n: uint8(), all: varray("n", struct(body)) } }));
    const state = { n: 2, all: [1, 2].map((a) => ({ a, own: 4, b: 5 })) };
    const { bytes } = list.save(state);
    expect(hexOf(bytes)).toBe("020104000502040005");
    expect(list.load({ bytes })).toEqual(state);
    // After the second one's own field the bytes end: it was called two times all the same.
    expect(codeOf(caught(() => list.load({ bytes: bytes.subarray(0, 8) })))).toBe("ERR_EOF");
    const one = ["load", "postLoad"];
    expect(calls).toEqual(["preSave", "save", "preSave", "save", ...one, ...one, ...one, "load"]);
  });

  test("readers and writers of one's own, in the midst of a stream", () => {
    const pair = compile(vmstate({ name: "pair", version: 1, fields: { a: uint8(), b: uint32() } }));
    const writer = new Writer();
    writer.uint8(7);
    pair.saveTo(writer, { a: 1, b: 2 });
    pair.saveTo(writer, { a: 3, b: 4 });
    expect(writer.compiled).toBe(false);
    const { bytes } = writer.finish();
    expect(hexOf(bytes)).toBe("0701000000020300000004");
    const reader = new Reader({ bytes });
    reader.pos = 1;
    expect([pair.loadFrom(reader), pair.loadFrom(reader)]).toEqual([
      { a: 1, b: 2 },
      { a: 3, b: 4 },
    ]);
    expect(reader.remaining).toBe(0);
  });
});

describe("names", () => {
  const odd = [
    'a"b',
    "a'b",
    "a`b",
    "a\\",
    'a\\"]; throw 1; //',
    "a\nb",
    "a\u2028b",
    "\ud800",
    `$${"{1}"}`,
    "*/",
    "constructor",
    "toString",
    "hasOwnProperty",
    "then",
    "p",
    "state",
    "H",
    "",
    "ä€😀",
    "1e3",
    "-1",
  ];

  test("of fields and descriptions are only ever names", () => {
    const inner = describeParts({
      name: 'a"]; throw 1; //\\',
      version: 1,
      minimumVersion: 1,
      fields: odd.map((name) => ({ name, field: uint16() })),
      subsections: [],
    });
    const outer = vmstate({
      name: "outer",
      version: 1,
      fields: { 'in"ner': struct(inner), "li\\st": qlist(inner, { version: 1 }) },
    });
    const made = compile(outer);
    expect(made.covers).toBe("all");
    const one = () => Object.fromEntries(odd.map((name, at) => [name, at]));
    const state = { 'in"ner': one(), "li\\st": [one(), one()] };
    const { bytes } = made.save(state);
    expect(hexOf(bytes)).toBe(hexOf(save(outer, state).bytes));
    expect(made.load({ bytes })).toEqual(load(outer, { bytes }));
    expect(made.load({ bytes })).toEqual(state);
    const cut = { bytes: bytes.subarray(0, 5) };
    expect(String(caught(() => made.load(cut)))).toBe(String(caught(() => load(outer, cut))));
  });

  test("__proto__ is no name, whichever way a description is made", () => {
    const field = JSON.parse('{ "__proto__": 1 }') as object;
    const parts = { name: "x", version: 1, minimumVersion: 1, subsections: [] };
    const fields = Object.keys(field).map((name) => ({ name, field: uint8() }));
    expect(codeOf(caught(() => describeParts({ ...parts, fields })))).toBe("ERR_DESCRIPTION");
  });

  test("a field that is named as a subsection's mark begins does not end the body", () => {
    // 05, then a text that begins with the description's name: a subsection, which is unknown.
    const plain = vmstate({ name: "ab", version: 1, fields: { a: uint8() } });
    const list = vmstate({ name: "list", version: 1, fields: { n: uint8(), all: varray("n", struct(plain)) } });
    for (const hex of ["0205", "020105", "02010503616263", "020105036162", "0201050361ff63", "0105036162630000"]) {
      const bytes = new Uint8Array(Buffer.from(hex, "hex"));
      expect(String(caught(() => compile(list).load({ bytes }))), hex).toBe(
        String(caught(() => load(list, { bytes }))),
      );
    }
  });
});

const root = fileURLToPath(new URL("../..", import.meta.url));

test("where no code may be generated the engine does it all", () => {
  const script = `
    import { compile } from ${JSON.stringify(join(root, "dist/vmstate/compile/index.js"))};
    import { uint8, vmstate } from ${JSON.stringify(join(root, "dist/vmstate/index.js"))};
    const made = compile(vmstate({ name: "x", version: 1, fields: { a: uint8(), b: uint8() } }));
    console.log(JSON.stringify([made.covers, made.load({ bytes: made.save({ a: 1, b: 2 }).bytes })]));`;
  const run = (...flags: string[]) =>
    JSON.parse(execFileSync(process.execPath, [...flags, "--input-type=module", "-e", script], { encoding: "utf8" }));
  expect(run("--disallow-code-generation-from-strings")).toEqual(["nothing", { a: 1, b: 2 }]);
  expect(run()).toEqual(["all", { a: 1, b: 2 }]);
});

test("only what runs in Node alone imports it, and only it generates code", () => {
  const files = readdirSync(join(root, "src"), { recursive: true, encoding: "utf8" }).filter((file) =>
    file.endsWith(".ts"),
  );
  const text = (file: string) => readFileSync(join(root, "src", file), "utf8");
  const importing = files.filter((file) => /(from|import\() ?"[^"]*\/compile\/[^"]*"/.test(text(file)));
  expect(importing).toEqual(["channel/compiled.ts"]);
  const generating = files.filter((file) => /\bnew Function\b|\beval\(/.test(text(file)));
  expect(generating.filter((file) => !file.startsWith("vmstate/compile/"))).toEqual([]);
  expect(generating).toContain("vmstate/compile/body.ts");
});
