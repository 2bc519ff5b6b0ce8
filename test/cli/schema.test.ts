// JSON Schemas of what the commands print: each is printed, has a version, and fits what is printed. Those of commands for a VM:
// test/qemu/schema.long.test.ts.

import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gunzipSync, gzipSync } from "node:zlib";
import { afterAll, describe, expect, test } from "vitest";
import { outputs } from "../../src/cli/schema/all.ts";
import { qcow2 } from "../files/qcow2-image.ts";
import { be32, bytes, repeat } from "../migration/build.ts";
import { cprkit, repoRoot } from "../support/cli.ts";
import { expectSchema } from "../support/json-schema.ts";

const folder = mkdtempSync(join(tmpdir(), "cprkit-schema-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
const file = (name: string, content: Uint8Array | string): string => {
  const path = join(folder, name);
  writeFileSync(path, content);
  return path;
};
const fixture = (path: string) => join(repoRoot, "test/fixtures", path);
const capture = fixture("migration/cpr-main-microvm-10.0.mig");
const stream = readFileSync(capture);
const recorded = (version: string) =>
  file(`${version}.mig`, gunzipSync(readFileSync(fixture(`migration/old-q35-${version}.mig.gz`))));

describe("cprkit schema", () => {
  test("prints each schema with its version, and lists them", () => {
    const { stdout, code } = cprkit(["schema", "--json"]);
    expect(code).toBe(0);
    const list = JSON.parse(stdout).outputs as { name: string; version: number }[];
    expect(list.map(({ name }) => name)).toEqual(Object.keys(outputs));
    expect(JSON.parse(cprkit(["schema", "check"]).stdout)).toMatchObject({
      $id: "urn:cprkit:check:1",
      $schema: "https://json-schema.org/draft/2020-12/schema",
      type: "object",
    });
    expect(cprkit(["schema", "chek"])).toMatchObject({ code: 2, stderr: expect.stringContaining("perhaps check") });
    expect(cprkit(["schema"]).stdout).toMatch(/^inspect-migration +1 +inspect FILE/m);
  });

  test("a key more is allowed, another type is not", () => {
    const { stdout } = cprkit(["check", capture, capture, "--json"]);
    const value = JSON.parse(stdout);
    expect(() => expectSchema("check", JSON.stringify({ ...value, compared: 1 }))).toThrow();
    expect(JSON.parse(cprkit(["schema", "check"]).stdout).additionalProperties).toBeUndefined();
  });
});

describe("what is printed with --json is as its schema says", () => {
  const printed = (name: string, args: readonly string[], input?: string) => {
    const { stdout } = cprkit(args, input === undefined ? {} : { input: Buffer.from(input) });
    return expectSchema(name, stdout);
  };

  test("inspect of migration streams", () => {
    const streams = [capture, recorded("5.2"), recorded("7.2"), file("cut.mig", stream.subarray(0, 9000))];
    for (const path of streams) printed("inspect-migration", ["inspect", path, "--json"]);
    const xml = "<domain/>\0";
    const saved = bytes(
      "LibvirtQemudSave",
      [2, xml.length, 1, 1, 0].map((word) => be32(word).reverse()),
      repeat(0, 56),
      xml,
    );
    printed("inspect-migration", ["inspect", file("a.save", bytes(saved, gzipSync(bytes(stream, stream)))), "--json"]);
    printed("inspect-migration", ["inspect", file("b.mig", bytes(repeat(1, 99), stream, 0)), "--json"]);
    const image = file("disk.qcow2", qcow2(stream));
    printed("inspect-qcow2", ["inspect", image, "--json"]);
    printed("inspect-migration", ["inspect", image, "--snapshot", "before", "--json"]);
    printed("inspect-ram-block", ["inspect", capture, "--ram-block", "ram0", "-o", join(folder, "ram"), "--json"]);
  });

  test("inspect and diff of CPR states", () => {
    for (const name of ["q35-min-10.0.bin", "q35-min-11.1.bin"]) {
      printed("inspect-cpr", ["inspect", fixture(`cpr/${name}`), "--json"]);
    }
    printed("diff-cpr", ["diff", fixture("cpr/q35-min-10.0.bin"), fixture("cpr/q35-min-11.1.bin"), "--json"]);
  });

  test("diff, check, explain", () => {
    const [old, newer] = [recorded("5.2"), recorded("7.2")];
    printed("diff-migration", ["diff", old, newer, "--json", "--ignore", "time"]);
    printed("check", ["check", old, newer, "--json"]);
    const said =
      "qemu: Missing section footer for a\nqemu: Not a migration stream\nqemu: load of migration failed: Invalid argument\n";
    printed("explain", ["explain", "--json"], said);
  });

  test("errors", () => {
    for (const args of [
      ["inspect", "/none"],
      ["inspect", "--nix"],
      ["inspect", file("x", "x")],
      ["schema", "x"],
    ]) {
      expectSchema("error", cprkit([...args, "--json"]).stderr);
    }
    expectSchema("error", cprkit(["inspect", file("cut2.mig", stream.subarray(0, 9000)), "--json"]).stderr);
  });
});
