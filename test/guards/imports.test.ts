// The projects of the compiler and koffi's one place. That the projects refuse an import in the wrong direction is shown
// by imports.long.test.ts.

import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { folders, root } from "./project.ts";

describe("the projects of the compiler", () => {
  it("are all there, and `tsc -b` builds each", () => {
    const found = readdirSync(join(root, "src"), { withFileTypes: true }).filter((entry) => entry.isDirectory());
    expect(found.map(({ name }) => name).sort()).toEqual([...folders].sort());
    const { references } = JSON.parse(readFileSync(join(root, "tsconfig.json"), "utf8")) as {
      readonly references: readonly { readonly path: string }[];
    };
    expect(references.map(({ path }) => path).sort()).toEqual(
      ["./bench/cases", "./fleet", "./src", ...folders.map((one) => `./src/${one}`)].sort(),
    );
  });
});

describe("koffi", () => {
  it("is imported by one file alone", () => {
    const files = readdirSync(join(root, "src"), { recursive: true, encoding: "utf8" }).filter((file) =>
      file.endsWith(".ts"),
    );
    const naming = files.filter((file) => /["']koffi["']/.test(readFileSync(join(root, "src", file), "utf8")));
    expect(naming).toEqual(["linux/ffi/koffi.ts"]);
  });
});
