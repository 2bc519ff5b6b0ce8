import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { cprkit, repoRoot } from "../support/cli.ts";

const fixture = (name: string) => join(repoRoot, "test/fixtures/cpr", name);
const folder = mkdtempSync(join(tmpdir(), "cprkit-cli-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

describe("cprkit inspect", () => {
  test("lists the fds of a cpr-transfer state", () => {
    const { code, stdout, stderr } = cprkit(["inspect", fixture("q35-min-10.0.bin")]);
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    expect(stdout).toContain("CPR state, list ABI, 151 bytes, 6 fds, cpr-transfer");
    expect(stdout).toMatch(/^ram0 +0 +0x95$/m);
  });

  test("shows the numbers of a cpr-exec state, and the empty subsection", () => {
    const { stdout } = cprkit(["inspect", fixture("exec-q35-min-11.1.bin")]);
    expect(stdout).toContain("cpr-exec (fds by number)");
    expect(stdout).toMatch(/^ram0 +0 +0xa4 +12$/m);
    expect(stdout).toContain('subsection "CprState/vfio devices" at 0xa9: empty');
  });

  test("--json has the promised shape", () => {
    const sidecar = JSON.parse(readFileSync(fixture("q35-min-11.1.json"), "utf8"));
    const { code, stdout } = cprkit(["inspect", "--json", fixture("q35-min-11.1.bin")]);
    expect(code).toBe(0);
    expect(JSON.parse(stdout)).toEqual({
      format: "qcpr",
      version: 1,
      abi: "list",
      bytes: 179,
      fds: sidecar.fds.map(({ name, id, byteOffset }: { name: string; id: number; byteOffset: number }) => ({
        name,
        id,
        offset: byteOffset,
        fd: null,
      })),
      subsections: [{ name: "CprState/vfio devices", offset: 0x97, devices: [] }],
      warnings: [],
    });
  });

  test("--hex shows every byte exactly once, in order", () => {
    const bytes = readFileSync(fixture("q35-min-11.1.bin"));
    const { stdout } = cprkit(["inspect", "--hex", fixture("q35-min-11.1.bin")]);
    const shown = stdout.split("\n").flatMap((line) => line.slice(8, 8 + 48).match(/[0-9a-f]{2}(?= |$)/g) ?? []);
    expect(shown.join("")).toBe(bytes.toString("hex"));
    expect(stdout).toMatch(/name: "ram0"/);
  });

  test("reads standard input", () => {
    const { code, stdout } = cprkit(["inspect", "-"], { input: readFileSync(fixture("q35-min-10.0.bin")) });
    expect(code).toBe(0);
    expect(stdout).toContain("6 fds");
  });

  test("a name that is not UTF-8 is shown without reaching the terminal raw, and survives in JSON", () => {
    const name = Buffer.from([0x61, 0xff, 0x1b, 0x5b]);
    const bytes = Buffer.concat([
      Buffer.from("5143505200000001" + "01" + "00000005", "hex"),
      name,
      Buffer.from("00" + "00000000" + "20" + "00", "hex"),
    ]);
    const shown = cprkit(["inspect", "-"], { input: bytes });
    expect(shown.stdout).toContain("a\\udcff\\x1b[");
    expect(shown.stdout).not.toContain("\u001b");
    const report = JSON.parse(cprkit(["inspect", "--json", "-"], { input: bytes }).stdout);
    expect(report.fds[0].name).toBe("a\udcff\u001b[");
  });

  test.each([
    ["nothing", "", "found an empty input"],
    ["another file", "7b7d0a00", "0x0"],
    ["a cut state", "514350520000000101000000056172", "byte 15 (0xf)"],
    ["a newer version", "514350520000000200", "expected version 1 of the CPR stream, found 2"],
  ])("bad input, %s: exit code 3 and one line", (_what, hex, message) => {
    const { code, stdout, stderr } = cprkit(["inspect", "-"], { input: Buffer.from(hex, "hex") });
    expect(code).toBe(3);
    expect(stdout).toBe("");
    expect(stderr).toContain(message);
    expect(stderr.trimEnd().split("\n")).toHaveLength(1);
  });

  test("an error as JSON with --json", () => {
    const { code, stderr } = cprkit(["inspect", "--json", "-"], {
      input: Buffer.from("51435052000000010100000005", "hex"),
    });
    expect(code).toBe(3);
    expect(JSON.parse(stderr)).toEqual({
      error: { code: "ERR_EOF", message: expect.stringContaining("byte 13"), offset: 13 },
    });
  });

  test("a missing file: exit code 4", () => {
    const { code, stderr } = cprkit(["inspect", join(folder, "none")]);
    expect(code).toBe(4);
    expect(stderr).toContain("ENOENT");
    expect(stderr).not.toContain("    at ");
  });
});

describe("cprkit convert", () => {
  const out = join(folder, "out.bin");

  test("list to hash and back gives the same bytes", () => {
    const hash = join(folder, "hash.bin");
    expect(cprkit(["convert", fixture("pc-50names-11.1.bin"), "--to", "hash", "-o", hash]).code).toBe(0);
    expect(JSON.parse(cprkit(["inspect", "--json", hash]).stdout).abi).toBe("hash");
    expect(cprkit(["convert", hash, "--to", "list", "-o", out]).code).toBe(0);
    expect(readFileSync(out).equals(readFileSync(fixture("pc-50names-11.1.bin")))).toBe(true);
  });

  test("--for 10.0 leaves out the 28 bytes of the empty subsection", () => {
    expect(cprkit(["convert", fixture("q35-min-11.1.bin"), "--for", "10.0", "-o", out]).code).toBe(0);
    expect(readFileSync(out).equals(readFileSync(fixture("q35-min-11.1.bin")).subarray(0, 179 - 28))).toBe(true);
  });

  test("--for 10.0 refuses a state with vfio devices", () => {
    const devices = `05154370725374617465${Buffer.from("/vfio devices").toString("hex")}00000001`;
    const device = ["01", "00000003", "643000", "00000007", "00000002", "00000005", "00"].join("");
    const input = Buffer.from(`514350520000000100${devices}${device}`, "hex");
    const { code, stderr } = cprkit(["convert", "-", "--for", "10.0", "-o", out], { input });
    expect(code).toBe(3);
    expect(stderr).toContain("QEMU 10.0 knows no vfio devices in a CPR state, and this one has 1");
  });

  test("a file that cannot be written: exit code 4", () => {
    const { code, stderr } = cprkit(["convert", fixture("q35-min-11.1.bin"), "-o", join(folder, "no/such/folder")]);
    expect(code).toBe(4);
    expect(stderr).toContain("cannot write");
  });
});

describe("the command line", () => {
  test.each([
    [["inspect"]],
    [["inspect", "a", "--json", "--hex"]],
    [["convert", "x"]],
    [["nonsense"]],
    [["tap", "--listen", "a"]],
    [["demo", "--fds", "0"]],
    [["convert", "x", "--for", "ten", "-o", "y"]],
  ])("wrong usage %j: exit code 2, no stack trace", (args) => {
    const { code, stderr } = cprkit(args);
    expect(code).toBe(2);
    expect(stderr).toMatch(/^(cprkit: |\{"error":)[^\n]*\n$/);
    expect(stderr).not.toContain("    at ");
  });

  const names = [...cprkit(["--help"]).stdout.matchAll(/^ {2}(?!help )([a-z]+) /gm)].map(([, name]) => name as string);

  test("knows its commands", () => {
    expect(names).toEqual(expect.arrayContaining(["inspect", "convert", "tap", "demo"]));
  });

  test.each(names)("%s --help shows an example", (name) => {
    const { code, stdout } = cprkit([name, "--help"]);
    expect(code).toBe(0);
    expect(stdout).toMatch(/Examples?:/);
  });

  test("--version is the package's", () => {
    const { version } = JSON.parse(readFileSync(join(repoRoot, "package.json"), "utf8"));
    expect(cprkit(["--version"]).stdout).toBe(`${version}\n`);
  });

  test("no colour codes where the output is no terminal", () => {
    writeFileSync(out(), cprkit(["inspect", fixture("q35-540-10.0.bin")]).stdout);
    expect(readFileSync(out(), "utf8")).not.toContain("\u001b");
  });

  function out(): string {
    return join(folder, "text");
  }
});

describe("cprkit diff of CPR states", () => {
  test("the same: exit code 0", () => {
    const { code, stdout } = cprkit(["diff", fixture("q35-min-10.0.bin"), fixture("q35-min-10.0.bin")]);
    expect({ code, stdout }).toEqual({ code: 0, stdout: "no difference\n" });
  });

  test("of 10.0 and 11.1 the subsection and the order differ: exit code 1", () => {
    const { code, stdout } = cprkit(["diff", fixture("q35-min-10.0.bin"), fixture("q35-min-11.1.bin")]);
    expect(code).toBe(1);
    expect(stdout).toContain("the same fds in another order");
    expect(stdout).toContain('subsection "CprState/vfio devices": not there -> []');
  });

  test("a CPR state and something else: exit code 3", () => {
    const { code, stderr } = cprkit(["diff", fixture("q35-min-10.0.bin"), fixture("q35-min-10.0.json")]);
    expect(code).toBe(3);
    expect(stderr).toContain("both must be the same kind");
  });
});
