// The command line on files as people have them: what is around the stream is shown, and what can't be read is named.

import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { afterAll, describe, expect, test } from "vitest";
import { qcow2 } from "../files/qcow2-image.ts";
import { be32, bytes, command, configuration, header, repeat } from "../migration/build.ts";
import { cprkit, repoRoot } from "../support/cli.ts";

const capture = join(repoRoot, "test/fixtures/migration/cpr-main-microvm-10.0.mig");
const stream = readFileSync(capture);
const folder = mkdtempSync(join(tmpdir(), "cprkit-files-cli-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));
const file = (name: string, content: Uint8Array | string): string => {
  const path = join(folder, name);
  writeFileSync(path, content);
  return path;
};
const xml = "<domain><name>shop</name></domain>\n\0";
const saved = file(
  "shop.save",
  bytes(
    "LibvirtQemudSave",
    [2, xml.length, 1, 1, 0].map((value) => be32(value).reverse()),
    repeat(0, 56),
    xml,
    gzipSync(stream),
  ),
);
const image = file("disk.qcow2", qcow2(stream));

describe("cprkit inspect", () => {
  test("of a save of libvirt shows the domain, and says how it is packed", () => {
    expect(cprkit(["inspect", saved, "--xml"])).toEqual({
      code: 0,
      stderr: "",
      stdout: "<domain><name>shop</name></domain>\n",
    });
    const { stdout, code } = cprkit(["inspect", saved]);
    expect(code).toBe(0);
    expect(stdout).toMatch(/^in +a save of libvirt of "shop", gzip, was running; --xml shows the domain$/m);
    expect(stdout).toMatch(/^in +gzip$/m);
    const json = JSON.parse(cprkit(["inspect", saved, "--json"]).stdout);
    expect(json).toMatchObject({
      wrapping: [{ kind: "libvirt-save", format: "gzip", complete: true }, { kind: "gzip" }],
      end: stream.length,
    });
    expect(cprkit(["inspect", capture, "--xml"])).toMatchObject({ code: 2 });
  });

  test("of a qcow2 image lists its snapshots, and shows one", () => {
    const list = cprkit(["inspect", image]);
    expect(list).toMatchObject({ code: 0, stderr: "" });
    expect(list.stdout).toMatch(/^ 7 +before +2023-11-14 22:13:20 +23,322$/m);
    expect(JSON.parse(cprkit(["inspect", image, "--json"]).stdout)).toMatchObject({
      snapshots: [{ id: "7", name: "before", clock: "5000000000", stateSize: stream.length }],
    });
    expect(cprkit(["inspect", image, "--snapshot", "before"]).stdout).toMatch(/^in +the snapshot "before" of a qcow2/m);
    expect(cprkit(["diff", image, capture])).toMatchObject({ code: 2 });
    expect(cprkit(["diff", image, capture, "--snapshot", "before"]).stdout).toBe("no difference\n");
    expect(cprkit(["inspect", capture, "--snapshot", "before"])).toMatchObject({ code: 2 });
    expect(cprkit(["inspect", image, "--snapshot", "before", "--hex"]).stdout).toContain("magic");
  });

  test("takes the description out of a stream, and for a stream", () => {
    const { stdout, code } = cprkit(["inspect", capture, "--description"]);
    expect(code).toBe(0);
    const json = file("desc.json", stdout);
    const bare = file("bare.mig", stream.subarray(0, stream.lastIndexOf(Buffer.from('{"')) - 5));
    for (const source of [json, saved]) {
      expect(cprkit(["inspect", bare, "--vmdesc", source, "--section", "cpu"]).stdout).toContain("env.eip");
    }
  });

  test("of a stream with COLO says that its checkpoints are not read", () => {
    const colo = file("colo.mig", bytes(header, configuration("none"), command(8), 0));
    expect(cprkit(["inspect", colo]).stdout).toContain(
      "COLO: the checkpoints that follow the first state are not read",
    );
  });

  test("names what it is given and can't read", () => {
    const cases: readonly (readonly [string, Uint8Array])[] = [
      ["a network capture (pcap)", Buffer.from("d4c3b2a1020004000000000000000000", "hex")],
      ["an encrypted volume (LUKS)", Buffer.from("4c554b53babe0001", "hex")],
      ["a TLS connection", Buffer.from("1603010200010001fc0303", "hex")],
      ["an ELF file, as dump-guest-memory", Buffer.from("7f454c460201010000", "hex")],
      ["an extra channel of a multifd migration", bytes(be32(0x11223344), be32(1), repeat(0, 56))],
      ["the return path of a migration (PONG, SHUT)", bytes(0, 2, 0, 4, be32(1), 0, 1, 0, 4, be32(0))],
      ["an encrypted qcow2 image (LUKS)", qcow2(stream, { encryption: 2 })],
      ["JSON, not a stream", bytes('{"devices": []}')],
      ["gzip: the compressed data ends too early", gzipSync(stream).subarray(0, 30)],
    ];
    for (const [what, content] of cases) {
      const { code, stderr } = cprkit(["inspect", file("what", content)]);
      expect([what, code, stderr.includes(what)]).toEqual([what, 3, true]);
    }
  });
});

describe("cprkit diff", () => {
  test("says that one of two files has a second stream", () => {
    const both = file("two.mig", bytes(stream, stream));
    const { code, stdout } = cprkit(["diff", capture, both]);
    expect(code).toBe(1);
    expect(stdout).toContain(`further-stream  none -> ${stream.length}`);
    expect(cprkit(["inspect", both]).stdout).toContain(`another stream begins at 0x5b1a (--offset ${stream.length})`);
    expect(cprkit(["diff", capture, both, "--json"]).stdout).toContain('"kind":"further-stream"');
  });

  test("takes compressed streams on both sides", () => {
    const packed = file("packed.gz", gzipSync(stream));
    expect(cprkit(["diff", packed, saved])).toEqual({ code: 0, stderr: "", stdout: "no difference\n" });
  });
});
