import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { readMigrationBytes } from "../../src/migration/index.ts";
import {
  be16,
  blockList,
  bytes,
  capabilities,
  configuration,
  counted,
  device,
  end,
  entry,
  eos,
  further,
  header,
  repeat,
  vmdesc,
} from "../migration/build.ts";
import { cprkit, repoRoot } from "../support/cli.ts";

const fixture = (name: string) => join(repoRoot, "test/fixtures/migration", `${name}.mig`);
const folder = mkdtempSync(join(tmpdir(), "cprkit-migration-cli-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
const file = (name: string, content: Uint8Array | string): string => {
  const path = join(folder, name);
  writeFileSync(path, content);
  return path;
};

const microvm = fixture("cpr-main-microvm-10.0");
const page = 4096;

/** RAM with two pages, zeros over one of them, and a change of the other. */
const withRam = bytes(
  header,
  configuration("test"),
  entry(
    1,
    2,
    "ram",
    [
      blockList([
        ["pc.ram", 4 * page],
        ["rom", page],
      ]),
      eos,
    ],
    { version: 4 },
  ),
  further(2, 2, [0x08n, counted("pc.ram"), repeat(0xaa, page), BigInt(2 * page) | 0x28n, repeat(0xbb, page), eos]),
  further(3, 2, [BigInt(2 * page) | 0x02n, counted("pc.ram"), 0, 0x60n, 1, be16(4), 0, 2, 1, 2, eos]),
  entry(4, 3, "timer", repeat(7, 4)),
  end(vmdesc(device("timer", [{ name: "ticks", type: "uint32", size: 4 }]))),
);

describe("cprkit inspect of a migration stream", () => {
  test("shows header, sections with size and share, and RAM by block", () => {
    const { code, stdout, stderr } = cprkit(["inspect", microvm]);
    expect({ code, stderr }).toEqual({ code: 0, stderr: "" });
    expect(stdout).toMatch(/^QEMU migration stream, version 3, 23,322 bytes, complete$/m);
    expect(stdout).toMatch(/^machine +microvm$/m);
    expect(stdout).toMatch(/^run state +running/m);
    expect(stdout).toMatch(/^ +0x14 +start +\d+ +ram +4 +\d+ +0\.\d%$/m);
    expect(stdout).toMatch(/^ram0 +32\.0 MiB +0 +0 +0 +0$/m);
    expect(stdout).toContain("no pages in the stream");
  });

  test("shows the fields that were asked for", () => {
    const { stdout } = cprkit(["inspect", microvm, "--section", "fw_*", "--field", "fw_cfg/acpi_mr/*"]);
    expect(stdout.trimEnd().split("\n")).toEqual([
      expect.stringMatching(/^fw_cfg \(version 2, \d+ bytes at 0x[\da-f]+\)$/),
      expect.stringMatching(/^ {2}fw_cfg\/acpi_mr {2}\(subsection at 0x[\da-f]+\)$/),
      expect.stringMatching(/^ {4}table_mr_size = 1039 \(0x40f\) {2}\(uint64 at 0x[\da-f]+\)$/),
      expect.stringMatching(/^ {4}linker_mr_size = 1664 \(0x680\)/),
      expect.stringMatching(/^ {4}rsdp_mr_size = 36 \(0x24\)/),
    ]);
    const regs = cprkit(["inspect", microvm, "--field", "env.re?s"]).stdout;
    expect(regs.split("\n")[1]).toMatch(/^ {2}env\.regs = \[786432 \(0xc0000\), 0, /);
  });

  test("--json has the promised shape, from a file and from a pipe", () => {
    const { code, stdout } = cprkit(["inspect", "--json", microvm]);
    expect(code).toBe(0);
    const json = JSON.parse(stdout);
    expect(json).toMatchObject({ format: "qevm", version: 3, machine: "microvm", complete: true, problems: [] });
    expect(json.ram.blocks[0]).toMatchObject({ name: "ram0", usedLength: 33554432, pages: 0 });
    const timer = json.sections.find(({ name }: { name: string }) => name === "timer");
    expect(Object.keys(timer)).toEqual([
      "type",
      "id",
      "name",
      "instance",
      "version",
      "offset",
      "size",
      "decoded",
      "fields",
    ]);
    const piped = cprkit(["inspect", "--json", "-"], { input: readFileSync(microvm) });
    expect(piped.stdout).toBe(stdout);
  });

  test("--hex shows every byte that is not RAM or JSON once, in order", () => {
    const { code, stdout } = cprkit(["inspect", "--hex", microvm]);
    expect(code).toBe(0);
    const stream = readFileSync(microvm);
    let at = 0;
    for (const line of stdout.split("\n")) {
      const skipped = /^0x[\da-f]+ {2}RAM records: (\d+) bytes$/.exec(line);
      if (skipped !== null) at += Number(skipped[1]);
      const shown = /^[\da-f]{8} {2}((?:[\da-f]{2} ?){1,16})/.exec(line)?.[1]?.replaceAll(" ", "");
      if (shown === undefined) continue;
      expect(Number.parseInt(line.slice(0, 8), 16), line).toBe(at);
      expect(stream.subarray(at, at + shown.length / 2).toString("hex"), line).toBe(shown);
      at += shown.length / 2;
    }
    expect(at).toBe((readMigrationBytes(stream).vmdescription?.offset as number) + 5);
    expect(stdout).toMatch(/cpu_ticks_offset: \d+ \(0x[\da-f]+\) \(int64\)/);
    const text = stdout.split("\n").map((line) => line.slice(59));
    const channels = text.indexOf("channels (struct)");
    expect(text.slice(channels, channels + 3)).toEqual([
      "channels (struct)",
      "  [0] (struct)",
      "    count: 65536 (0x10000) (int32)",
    ]);
  });

  test("reads a stream at an offset", () => {
    const path = file("offset.mig", bytes(repeat(0, 0x1000), readFileSync(microvm)));
    expect(cprkit(["inspect", path]).stdout).toMatch(/^in +a file with 4,096 bytes before it$/m);
    const { code, stdout } = cprkit(["inspect", path, "--offset", "0x1000"]);
    expect(code).toBe(0);
    expect(stdout).toContain("23,322 bytes from 0x1000 on");
    expect(cprkit(["inspect", path, "--offset", "x"]).code).toBe(2);
  });

  test("shows what came before a cut, and in which field it is", () => {
    const whole = readFileSync(microvm);
    const json = file("microvm.json", readMigrationBytes(whole).vmdescription?.text ?? "");
    const section = readMigrationBytes(whole).sections.find(({ name }) => name === "cpu");
    const cut = file("cut.mig", whole.subarray(0, (section?.bodyOffset ?? 0) + 20));
    const { code, stdout, stderr } = cprkit(["inspect", cut, "--vmdesc", json]);
    expect(code).toBe(3);
    expect(stdout).toMatch(/NOT complete/);
    expect(stdout).toMatch(/^ +0x[\da-f]+ +full +\d+ +timer /m);
    expect(stderr).toMatch(/^cprkit: cpu\/env\.regs\[2\] at byte \d+ \(0x[\da-f]+\): the input ends here/);
    expect(cprkit(["inspect", cut, "--section", "cpu", "--vmdesc", json]).stdout).toMatch(
      /env\.regs = \[786432 \(0xc0000\), 0\]/,
    );
    expect(cprkit(["inspect", cut]).stderr).toMatch(/^cprkit: cpu at byte \d+/);
  });

  test("exit code 1 for a stream of which a part is damaged", () => {
    const changed = new Uint8Array(readFileSync(microvm));
    const { sections } = readMigrationBytes(changed);
    const pic = sections.find(({ name }) => name === "ioapic");
    changed[(pic?.bodyOffset ?? 0) + (pic?.bodySize ?? 0)] = 0x11;
    const { code, stdout } = cprkit(["inspect", file("changed.mig", changed)]);
    expect(stdout).toMatch(/^problem: ioapic at byte .*expected the footer of section \d+ .* found the byte 11$/m);
    expect(stdout).toContain("bytes, complete");
    expect(code).toBe(1);
  });

  test("says what a multifd channel is", () => {
    const { code, stderr } = cprkit(["inspect", file("multifd", bytes(0x11, 0x22, 0x33, 0x44, repeat(0, 60)))]);
    expect(code).toBe(3);
    expect(stderr).toMatch(/extra channel of a multifd migration/);
  });
});

describe("cprkit inspect --ram-block", () => {
  const path = file("ram.mig", withRam);
  const out = join(folder, "pc.ram");

  test("writes the block with zero pages and changes applied", () => {
    const { code, stdout } = cprkit(["inspect", path, "--ram-block", "pc.ram", "-o", out]);
    expect(code).toBe(0);
    expect(stdout).toBe(`${out}: 16.0 KiB of RAM block "pc.ram"\n`);
    const expected = repeat(0, 4 * page);
    expected.fill(0xaa, 0, page);
    expected.set([1, 2], 0);
    expect(Buffer.compare(readFileSync(out), expected)).toBe(0);
  });

  test("refuses a file that does not keep what is written", () => {
    for (const odd of ["/proc/self/mem", "/proc/self/comm"]) {
      const { code, stdout, stderr } = cprkit(["inspect", path, "--ram-block", "pc.ram", "-o", odd]);
      expect({ code, stdout }).toEqual({ code: 4, stdout: "" });
      expect(stderr).toContain(`cannot write ${odd}: it does not keep what is written`);
    }
  });

  test("the same from a pipe", () => {
    cprkit(["inspect", path, "--ram-block", "pc.ram", "-o", out]);
    const piped = join(folder, "piped.ram");
    cprkit(["inspect", "-", "--ram-block", "pc.ram", "-o", piped], { input: withRam });
    expect(Buffer.compare(readFileSync(out), readFileSync(piped))).toBe(0);
  });

  test("mapped-ram pages come from their place", () => {
    const start = bytes(
      header,
      configuration("test", capabilities("mapped-ram")),
      1,
      0,
      0,
      0,
      2,
      counted("ram"),
      0n,
      bytes(BigInt(2 * page) | 4n, counted("pc.ram"), BigInt(2 * page)),
    );
    // The section's instance and version are the eight zero bytes above.
    const bitmapOffset = start.length + 28;
    const pagesOffset = page;
    const stream = bytes(
      start,
      0,
      0,
      0,
      1,
      BigInt(page),
      BigInt(bitmapOffset),
      BigInt(pagesOffset),
      2,
      repeat(0, 7),
      repeat(0xee, pagesOffset - bitmapOffset - 8),
      repeat(0xee, page),
      repeat(0x55, page),
      eos,
      0x7e,
      0,
      0,
      0,
      2,
      further(3, 2, eos),
      end(),
    );
    const { code } = cprkit(["inspect", file("mapped.mig", stream), "--ram-block", "pc.ram", "-o", out]);
    expect(code).toBe(0);
    expect(Buffer.compare(readFileSync(out), bytes(repeat(0, page), repeat(0x55, page)))).toBe(0);
  });

  test("names the blocks when there is no such one, and wants -o", () => {
    const { code, stderr } = cprkit(["inspect", path, "--ram-block", "ram", "-o", out]);
    expect(code).toBe(2);
    expect(stderr).toBe('cprkit: the stream has no RAM block "ram": its blocks are "pc.ram", "rom"\n');
    expect(cprkit(["inspect", path, "--ram-block", "pc.ram"]).stderr).toMatch(/needs -o FILE/);
    expect(cprkit(["inspect", path, "--ram-block", "pc.ram", "-o", join(folder, "no/where")]).code).toBe(4);
  });
});

describe("cprkit diff", () => {
  const changed = new Uint8Array(withRam);
  changed[readMigrationBytes(withRam).sections.at(-1)?.bodyOffset ?? 0] = 8;
  const [a, b] = [file("a.mig", withRam), file("b.mig", changed)];

  test("exits with 0 when nothing differs", () => {
    expect(cprkit(["diff", a, a])).toEqual({ code: 0, stdout: "no difference\n", stderr: "" });
  });

  test("exits with 1 and shows the field, both values and both offsets", () => {
    const { code, stdout } = cprkit(["diff", a, b]);
    expect(code).toBe(1);
    expect(stdout).toMatch(
      /^timer\n {4}ticks {2}117901063 \(0x7070707\) -> 134678279 \(0x8070707\) {2}\(at 0x[\da-f]+, 0x[\da-f]+\)$/m,
    );
    expect(stdout).toContain("1 difference in 1 section");
    const { differences } = JSON.parse(cprkit(["diff", "--json", a, b]).stdout);
    expect(differences).toEqual([
      {
        kind: "value",
        section: "timer",
        path: "ticks",
        a: { offset: expect.any(Number), value: 0x7070707 },
        b: { offset: expect.any(Number), value: 0x8070707 },
      },
    ]);
    expect(cprkit(["diff", a, b, "--section", "ram"]).code).toBe(0);
  });

  test("compares what came of a stream that is cut, and exits with 3", () => {
    const { code, stderr } = cprkit(["diff", a, file("short.mig", withRam.subarray(0, 5000))]);
    expect(code).toBe(3);
    expect(stderr).toMatch(/the input ends/);
    expect(cprkit(["diff", a, join(folder, "missing")]).code).toBe(4);
  });
});

describe("cprkit check", () => {
  test("exits with 0 for a machine and itself, by stream or description", () => {
    const text = readMigrationBytes(readFileSync(microvm)).vmdescription?.text ?? "";
    const json = file("vmdesc.json", text);
    expect(cprkit(["check", microvm, microvm])).toEqual({ code: 0, stdout: "nothing is in the way\n", stderr: "" });
    expect(cprkit(["check", json, json]).code).toBe(0);
  });

  test("exits with 1 and names what is in the way", () => {
    const { code, stdout } = cprkit(["check", microvm, fixture("cpr-main-pc-firmware-11.1")]);
    expect(code).toBe(1);
    expect(stdout).toMatch(
      /^error {2}the source is a microvm, the destination a pc-i440fx-11\.1.*\[machine-differs\]$/m,
    );
    expect(stdout).toMatch(/\[section-missing\]$/m);
    const { findings } = JSON.parse(cprkit(["check", "--json", microvm, fixture("cpr-main-pc-firmware-11.1")]).stdout);
    expect(findings[0]).toMatchObject({ code: "machine-differs", severity: "error" });
  });

  test("--strict counts warnings", () => {
    const dump = (field: string) =>
      JSON.stringify({
        vmschkmachine: { Name: "pc" },
        nic: {
          Name: "nic",
          version_id: 1,
          minimum_version_id: 1,
          Description: {
            name: "nic",
            version_id: 1,
            minimum_version_id: 1,
            Fields: [{ field, version_id: 0, field_exists: false, size: 4 }],
          },
        },
      });
    const paths = [file("old.json", dump("mode")), file("new.json", dump("unused"))];
    expect(cprkit(["check", ...paths]).code).toBe(0);
    expect(cprkit(["check", "--strict", ...paths]).code).toBe(1);
  });

  test("exits with 3 for what is neither, with the file's name", () => {
    const { code, stderr } = cprkit(["check", microvm, file("nonsense", "nonsense")]);
    expect(code).toBe(3);
    expect(stderr).toMatch(/nonsense at byte 0/);
  });
});
