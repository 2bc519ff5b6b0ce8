// The single file (npm run package): from an empty folder, with an empty home, it does what the package does; koffi's library
// is laid into a folder that is this user's alone, and never loaded from one that is not.

import { execFileSync, spawnSync } from "node:child_process";
import {
  chmodSync,
  chownSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { repoRoot } from "../support/cli.ts";
import { isRoot, nobody } from "../support/other-user.ts";

const base = mkdtempSync(join(tmpdir(), "cprkit-single-"));
chmodSync(base, 0o755);
const file = join(base, "cprkit");
afterAll(() => rmSync(base, { recursive: true, force: true }));

beforeAll(() => {
  execFileSync(process.execPath, ["scripts/package/make.mjs"], { cwd: repoRoot, stdio: "ignore" });
  copyFileSync(join(repoRoot, "package/cprkit.cjs"), file);
}, 120_000);

let places = 0;

/** A new empty place: a home, a cache in it, a folder for temporary files, and one to be in. */
function place() {
  const folder = join(base, `place${++places}`);
  const cache = join(folder, "home/.cache");
  for (const each of ["", "home", "home/.cache", "tmp", "here"]) mkdirSync(join(folder, each), { mode: 0o700 });
  return { folder, cache, temporary: join(folder, "tmp"), koffi: () => koffiFolders(join(cache, "cprkit")) };
}

const koffiFolders = (folder: string) =>
  existsSync(folder) ? readdirSync(folder).filter((name) => name.startsWith("koffi-")) : [];

function run({ folder, cache, temporary }: ReturnType<typeof place>, args: readonly string[], user = {}) {
  const { status, stdout, stderr } = spawnSync(process.execPath, [file, ...args], {
    ...{ cwd: join(folder, "here"), encoding: "utf8", timeout: 60_000 },
    env: { PATH: "", HOME: join(folder, "home"), XDG_CACHE_HOME: cache, TMPDIR: temporary },
    ...user,
  });
  return { status, stdout, stderr };
}

/** connect(2) is made, and its answer understood. */
const callsWork = (where: ReturnType<typeof place>, user = {}) => {
  const { status, stderr } = run(where, ["preflight", "--qmp", join(where.folder, "none.sock")], user);
  expect({ status, stderr }).toEqual({ status: 4, stderr: expect.stringContaining("no such socket (ENOENT)") });
};

it("does what the package does, from an empty folder with an empty home", () => {
  const where = place();
  const { version } = JSON.parse(readFileSync(join(repoRoot, "package.json"), "utf8"));
  expect(run(where, ["--version"])).toEqual({ status: 0, stdout: `${version}\n`, stderr: "" });
  const state = join(repoRoot, "test/fixtures/cpr/q35-min-10.0.bin");
  expect(JSON.parse(run(where, ["inspect", "--json", state]).stdout)).toMatchObject({ format: "qcpr", bytes: 151 });
  expect(JSON.parse(run(where, ["list", "--quick", "--json"]).stdout)).toEqual({ vms: expect.any(Array) });
  expect(run(where, ["nothing"])).toMatchObject({ status: 2, stderr: expect.stringContaining("unknown command") });
  // The demo hands fds to a second process, which is the same file.
  const demo = JSON.parse(run(where, ["demo", "--no-vm", "--fds", "20", "--json"]).stdout);
  expect(demo.handOver).toMatchObject({ fds: 20, same: 20, leaked: { old: 0, new: 0 } });
  expect(where.koffi()).toHaveLength(1);
  expect(readdirSync(where.temporary)).toEqual([]);
});

it("the library lies in a folder for this user alone; what is damaged there is laid anew", () => {
  const where = place();
  callsWork(where);
  const folder = join(where.cache, "cprkit", where.koffi()[0] as string);
  expect(statSync(folder).mode & 0o777).toBe(0o700);
  const files = readdirSync(folder, { recursive: true, encoding: "utf8" }).map((name) => join(folder, name));
  const libraries = files.filter((name) => name.endsWith(".node"));
  expect(libraries.length).toBeGreaterThan(0);
  const before = libraries.map((name) => readFileSync(name));
  for (const name of libraries) {
    const bytes = readFileSync(name);
    bytes[bytes.length >> 1] = (bytes[bytes.length >> 1] ?? 0) ^ 0xff;
    writeFileSync(name, bytes);
  }
  // The loader is a program, too.
  writeFileSync(files.find((name) => name.endsWith("index.cjs")) as string, "throw new Error('not this one')");
  callsWork(where);
  expect(libraries.map((name, at) => readFileSync(name).equals(before[at] as Buffer))).not.toContain(false);
});

it("a cache to which others may write, or a link in its place, is not used", () => {
  const open = place();
  mkdirSync(join(open.cache, "cprkit"));
  chmodSync(join(open.cache, "cprkit"), 0o777);
  callsWork(open);
  expect(open.koffi()).toEqual([]);
  const linked = place();
  mkdirSync(join(linked.folder, "elsewhere"), { mode: 0o700 });
  symlinkSync(join(linked.folder, "elsewhere"), join(linked.cache, "cprkit"));
  callsWork(linked);
  expect(readdirSync(join(linked.folder, "elsewhere"))).toEqual([]);
  // It lay in a folder of its own, which is gone.
  expect([...readdirSync(open.temporary), ...readdirSync(linked.temporary)]).toEqual([]);
});

/** A package of the library's name, as anybody could make one above the folder into which the library is laid. */
function plant(...folders: readonly string[]): string {
  const mark = join(base, `planted${places}`);
  for (const folder of folders) {
    const at = join(folder, "@koromix", `koffi-linux-${process.arch}`);
    mkdirSync(at, { recursive: true, mode: 0o755 });
    writeFileSync(join(at, "index.js"), `require("node:fs").writeFileSync(${JSON.stringify(mark)}, "");`);
  }
  return mark;
}

it("a library of koffi's name above the folder, or in HOME, is never loaded", () => {
  const where = place();
  const mark = plant(
    // As koffi's own loader would find it: by the rules of node_modules, and beside its package.
    ...["home/.cache/node_modules", "home/.cache/cprkit", "home/.node_modules", "node_modules"].map((name) =>
      join(where.folder, name),
    ),
  );
  callsWork(where);
  expect(existsSync(mark)).toBe(false);
});

it("cprkit fleet takes no package of another user that lies beside the file [needs root]", { skip: !isRoot }, () => {
  const where = place();
  const fleet = join(base, "cprkit-fleet");
  const mark = join(base, "ran");
  mkdirSync(fleet);
  writeFileSync(join(fleet, "package.json"), "{}");
  writeFileSync(join(fleet, "load.cjs"), `require("node:fs").writeFileSync(${JSON.stringify(mark)}, "");`);
  chownSync(join(fleet, "load.cjs"), nobody.uid, nobody.gid);
  expect(run(where, ["fleet", "--help"])).toMatchObject({
    ...{ status: 4, stderr: expect.stringContaining("belongs to another user (uid 65534): it is not run") },
  });
  expect(existsSync(mark)).toBe(false);
  rmSync(fleet, { recursive: true });
});

if (!isRoot) console.warn("skipped: the single file as a user without a home: only root can take that user's rights");
describe.skipIf(!isRoot)("a user without a home [needs root]", () => {
  const everybodys = (where: ReturnType<typeof place>, mode: number) => {
    for (const each of ["", "here"]) chmodSync(join(where.folder, each), 0o777);
    chmodSync(where.temporary, mode);
  };

  it("has it in a folder of the temporary ones, where nobody else's is taken for it", () => {
    const where = place();
    everybodys(where, 0o1777);
    const mark = plant(join(where.temporary, "node_modules"), where.temporary);
    chmodSync(base, 0o777);
    callsWork(where, nobody);
    chmodSync(base, 0o755);
    expect(existsSync(mark)).toBe(false);
    expect(readdirSync(where.temporary).sort()).toEqual(["@koromix", "node_modules"]);
  });

  it("has none where others may replace what is in the temporary folder", () => {
    const where = place();
    everybodys(where, 0o777);
    const { status, stderr } = run(where, ["preflight", "--qmp", join(where.folder, "none.sock")], nobody);
    expect({ status, stderr }).toEqual({
      status: 4,
      stderr: expect.stringMatching(/others may replace what is in it; XDG_CACHE_HOME may name a folder of your own/),
    });
    expect(readdirSync(where.temporary)).toEqual([]);
  });
});
