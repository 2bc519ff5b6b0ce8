// What a user gets: the packed tarball, installed elsewhere.

import { execFileSync, spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { publint } from "publint";
import { afterAll, beforeAll, expect, test } from "vitest";
import { repoRoot } from "../support/cli.ts";

const folder = mkdtempSync(join(tmpdir(), "cprkit-pack-"));
const npm = (args: readonly string[], cwd: string) =>
  execFileSync("npm", args, { cwd, encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] });
const node = (...args: string[]) => execFileSync(process.execPath, args, { cwd: folder, encoding: "utf8" });
let files: string[] = [];

beforeAll(() => {
  // The build has been made before the tests; prepack would make it again under the feet of the others.
  const [packed] = JSON.parse(npm(["pack", "--json", "--ignore-scripts", "--pack-destination", folder], repoRoot));
  files = packed.files.map(({ path }: { path: string }) => path);
  writeFileSync(join(folder, "package.json"), JSON.stringify({ private: true, type: "module" }));
  npm(
    ["install", "--prefer-offline", "--no-audit", "--no-fund", "--ignore-scripts", join(folder, packed.filename)],
    folder,
  );
}, 180_000);

afterAll(() => rmSync(folder, { recursive: true, force: true }));

test("bin/cprkit runs from the installed tarball", () => {
  const bin = join(folder, "node_modules/.bin/cprkit");
  const report = JSON.parse(node(bin, "inspect", "--json", join(repoRoot, "test/fixtures/cpr/q35-min-10.0.bin")));
  expect(report).toMatchObject({ format: "qcpr", abi: "list", bytes: 151 });
});

test("the demo runs from the installed tarball: koffi and the child process are found", () => {
  const result = JSON.parse(
    execFileSync(process.execPath, [join(folder, "node_modules/.bin/cprkit"), "demo", "--fds", "300", "--json"], {
      cwd: folder,
      encoding: "utf8",
      env: { PATH: "" },
    }),
  );
  expect(result.handOver).toMatchObject({ found: 300, same: 300, leaked: { old: 0, new: 0 } });
});

test("every subpath can be imported and gives what it should", () => {
  const script = `
    const [root, vmstate, cpr, migration, linux, channel, qemu] = await Promise.all(
      ["", "/vmstate", "/cpr", "/migration", "/linux", "/channel", "/qemu"].map((path) => import("cprkit" + path)));
    console.log(JSON.stringify([root.CprState === cpr.CprState, typeof vmstate.vmstate, typeof migration, typeof linux.sendFds, typeof channel.sendCprState, typeof qemu.tap]));
  `;
  expect(JSON.parse(node("--input-type=module", "--eval", script))).toEqual([
    true,
    "function",
    "object",
    "function",
    "function",
    "function",
  ]);
});

test("a TypeScript user gets types for every subpath", () => {
  writeFileSync(
    join(folder, "user.mts"),
    `import { CprState, type StateOf, vmstate } from "cprkit";
     import { uint32, uint64 } from "cprkit/vmstate";
     import { loadCprState } from "cprkit/cpr";
     const timer = vmstate({ name: "timer", version: 1, fields: { irq: uint32(), load: uint64() } });
     const state: StateOf<typeof timer> = { irq: 1, load: 2n };
     // @ts-expect-error: were the types lost, this would be any and no error.
     const wrong: StateOf<typeof timer> = { irq: "1", load: 2n };
     const table = new CprState();
     table.saveFd("a", 0, 3);
     const abi: "list" | "hash" = loadCprState({ bytes: new Uint8Array() }).abi;
     console.log(state, abi, wrong);`,
  );
  // As a TypeScript user of Node has them.
  mkdirSync(join(folder, "node_modules/@types"), { recursive: true });
  symlinkSync(join(repoRoot, "node_modules/@types/node"), join(folder, "node_modules/@types/node"));
  const flags = [
    "--noEmit",
    "--strict",
    "--skipLibCheck",
    "--types",
    "node",
    "--module",
    "nodenext",
    "--target",
    "es2023",
  ];
  const { status, stdout } = spawnSync(
    process.execPath,
    [join(repoRoot, "node_modules/typescript/bin/tsc"), ...flags, "user.mts"],
    {
      cwd: folder,
      encoding: "utf8",
    },
  );
  expect({ status, stdout }).toEqual({ status: 0, stdout: "" });
});

test("the tarball holds what it should and nothing else", () => {
  expect(files).toEqual(
    expect.arrayContaining(["LICENSE", "README.md", "CHANGELOG.md", "bin/cprkit", "dist/index.js", "dist/index.d.ts"]),
  );
  expect(
    files.filter(
      (path) => !/^(bin\/cprkit|dist\/.*\.(js|d\.ts)|LICENSE|README\.md|CHANGELOG\.md|package\.json)$/.test(path),
    ),
  ).toEqual([]);
});

test("publint finds nothing", async () => {
  const { messages } = await publint({ pkgDir: repoRoot, strict: true, pack: false });
  expect(messages).toEqual([]);
});
