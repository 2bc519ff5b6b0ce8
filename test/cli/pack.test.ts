// What a user gets: the packed tarball, installed elsewhere.

import { execFileSync, spawnSync } from "node:child_process";
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { type Analysis, checkPackage, createPackageFromTarballData } from "@arethetypeswrong/core";
import { publint } from "publint";
import { afterAll, beforeAll, expect, test } from "vitest";
import { repoRoot } from "../support/cli.ts";

const folder = mkdtempSync(join(tmpdir(), "cprkit-pack-"));
const npm = (args: readonly string[], cwd: string) =>
  execFileSync("npm", args, { cwd, encoding: "utf8", stdio: ["ignore", "pipe", "ignore"] });
const node = (...args: string[]) => execFileSync(process.execPath, args, { cwd: folder, encoding: "utf8" });
const tsc = (...args: string[]) =>
  spawnSync(process.execPath, [join(repoRoot, "node_modules/typescript/bin/tsc"), ...args], {
    cwd: folder,
    encoding: "utf8",
  });
let files: string[] = [];
let packed = "";

beforeAll(() => {
  // The build has been made before the tests; prepack would make it again under the feet of the others.
  const [tarball] = JSON.parse(npm(["pack", "--json", "--ignore-scripts", "--pack-destination", folder], repoRoot));
  files = tarball.files.map(({ path }: { path: string }) => path);
  packed = tarball.filename;
  writeFileSync(join(folder, "package.json"), JSON.stringify({ private: true, type: "module" }));
  npm(["install", "--prefer-offline", "--no-audit", "--no-fund", "--ignore-scripts", join(folder, packed)], folder);
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
    const [root, vmstate, cpr, migration, files, linux, channel, qemu] = await Promise.all(
      ["", "/vmstate", "/cpr", "/migration", "/files", "/linux", "/channel", "/qemu"].map((path) => import("cprkit" + path)));
    console.log(JSON.stringify([root.CprState === cpr.CprState, typeof vmstate.vmstate, typeof migration, typeof files.openSource, typeof linux.sendFds, typeof channel.sendCprState, typeof qemu.tap]));
  `;
  expect(JSON.parse(node("--input-type=module", "--eval", script))).toEqual([
    true,
    "function",
    "object",
    "function",
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
  linkNodeTypes();
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
  const { status, stdout } = tsc(...flags, "user.mts");
  expect({ status, stdout }).toEqual({ status: 0, stdout: "" });
});

test("the tarball holds what it should and nothing else", () => {
  expect(files).toEqual(
    expect.arrayContaining([
      "LICENSE",
      "README.md",
      "CHANGELOG.md",
      "bin/cprkit",
      "dist/index.js",
      "dist/index.d.ts",
      "dist/web/inspect.html",
    ]),
  );
  expect(
    files.filter(
      (path) =>
        !/^(bin\/cprkit|bin\/start\.cjs|bin\/package\.json|dist\/.*\.(js|d\.ts)|dist\/cli\/bundle\/[\w.-]+|dist\/web\/(inspect\.html|LICENSES\.txt)|man\/cprkit[\w-]*\.1|LICENSE|README\.md|CHANGELOG\.md|package\.json)$/.test(
          path,
        ),
    ),
  ).toEqual([]);
});

test("no shipped file points to a source map, for none is shipped", () => {
  const shipped = files.filter((path) => /\.(js|d\.ts)$/.test(path));
  expect(shipped.length).toBeGreaterThan(100);
  const pointing = shipped.filter((path) =>
    readFileSync(join(folder, "node_modules/cprkit", path), "utf8").includes("sourceMappingURL="),
  );
  expect(pointing).toEqual([]);
});

const resolutions = [
  { module: "node16", moduleResolution: "node16" },
  { module: "nodenext", moduleResolution: "nodenext" },
  { module: "esnext", moduleResolution: "bundler" },
];

test.each(resolutions)("the examples are type-checked in strict mode with $moduleResolution", (resolution) => {
  const examples = join(folder, `examples-${resolution.moduleResolution}`);
  cpSync(join(repoRoot, "examples"), examples, { recursive: true });
  const config = {
    compilerOptions: {
      ...resolution,
      target: "es2022",
      lib: ["es2023", "esnext.disposable"],
      types: ["node"],
      strict: true,
      allowJs: true,
      checkJs: true,
      noEmit: true,
      skipLibCheck: false,
    },
    include: ["*.mjs"],
  };
  writeFileSync(join(examples, "tsconfig.json"), JSON.stringify(config));
  linkNodeTypes();
  const { status, stdout } = tsc("-p", examples);
  expect({ status, stdout }).toEqual({ status: 0, stdout: "" });
  // A misspelt name would be seen.
  writeFileSync(join(examples, "wrong.mjs"), 'import { vmstat } from "cprkit/vmstate";\nvmstat({});\n');
  expect(tsc("-p", examples).stdout).toMatch(/wrong\.mjs\(1,10\): error TS2724/);
});

test("arethetypeswrong finds nothing for users of ES modules", async () => {
  const tarball = createPackageFromTarballData(new Uint8Array(readFileSync(join(folder, packed))));
  const { types, problems } = (await checkPackage(tarball)) as Analysis;
  expect(types).toMatchObject({ kind: "included" });
  // The package has ES modules alone (CommonJS imports them since Node 20.19), and its subpaths need a resolver that
  // knows "exports", which TypeScript's oldest one does not.
  const found = problems.filter(
    (problem) =>
      problem.kind !== "CJSResolvesToESM" && !(problem.kind === "NoResolution" && problem.resolutionKind === "node10"),
  );
  expect(found).toEqual([]);
});

test("cprkit fleet says how its package is installed, and takes none from the current folder", () => {
  const cwd = join(folder, "elsewhere");
  mkdirSync(join(cwd, "node_modules/cprkit-fleet"), { recursive: true });
  writeFileSync(join(cwd, "node_modules/cprkit-fleet/package.json"), JSON.stringify({ name: "cprkit-fleet" }));
  writeFileSync(join(cwd, "node_modules/cprkit-fleet/load.cjs"), "throw new Error('somebody else'); ");
  const { status, stderr } = spawnSync(process.execPath, [join(folder, "node_modules/cprkit/bin/cprkit"), "fleet"], {
    ...{ cwd, encoding: "utf8", env: { ...process.env, NODE_PATH: join(cwd, "node_modules") } },
  });
  expect([status, stderr]).toEqual([2, expect.stringMatching(/^cprkit: the package cprkit-fleet is not installed/)]);
});

test("cprkit-fleet's tarball beside cprkit's is all that cprkit fleet needs", () => {
  const words = ["pack", "--json", "--ignore-scripts", "--pack-destination", folder];
  const [{ filename }] = JSON.parse(npm(words, join(repoRoot, "fleet")));
  const modules = join(folder, "node_modules");
  const home = join(modules, "cprkit-fleet");
  mkdirSync(home);
  execFileSync("tar", ["-xzf", join(folder, filename), "-C", home, "--strip-components=1"]);
  const { dependencies } = JSON.parse(readFileSync(join(home, "package.json"), "utf8"));
  // What is on the disk already, so that nothing is fetched; cprkit itself is the packed one.
  for (const name of Object.keys(dependencies)) {
    mkdirSync(dirname(join(modules, name)), { recursive: true });
    if (!existsSync(join(modules, name))) symlinkSync(join(repoRoot, "node_modules", name), join(modules, name));
  }
  const fleet = (...args: string[]) => {
    const all = [join(modules, "cprkit/bin/cprkit"), "fleet", ...args];
    const { status, stdout, stderr } = spawnSync(process.execPath, all, { cwd: folder, encoding: "utf8" });
    return { status, stdout, stderr };
  };
  expect(fleet("--help")).toEqual({
    status: 0,
    stdout: expect.stringMatching(/coordinator[\s\S]*Examples:/),
    stderr: "",
  });
  // Far enough to need its migrations, its agent and cprkit's library.
  const refused = { status: 2, stdout: "", stderr: expect.stringMatching(/an agent needs --host/) };
  expect(fleet("agent", "--database", "postgresql://nobody@127.0.0.1:1/none")).toEqual(refused);
  expect(readdirSync(join(home, "migrations"))).toEqual(readdirSync(join(repoRoot, "fleet/migrations")));
}, 60_000);

test("publint finds nothing", async () => {
  const { messages } = await publint({ pkgDir: join(folder, "node_modules/cprkit"), strict: true, pack: false });
  expect(messages).toEqual([]);
});

/** Node's types, as a TypeScript user of Node has them. */
function linkNodeTypes(): void {
  for (const name of ["@types/node", "undici-types"]) {
    const link = join(folder, "node_modules", name);
    mkdirSync(dirname(link), { recursive: true });
    if (!existsSync(link)) symlinkSync(join(repoRoot, "node_modules", name), link);
  }
}
