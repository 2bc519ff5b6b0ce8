// Streams as people have them: compressed, saved by libvirt, in a snapshot of a qcow2 image, behind something else.
// Compressed by the machine's own tools, where it has them; lzop by a recorded file.

import { spawnSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { afterAll, describe, expect, test } from "vitest";
import { openSource, type UnwrapOptions, unwrap } from "../../src/files/index.ts";
import { readMigration } from "../../src/migration/index.ts";
import { isCprkitError } from "../../src/vmstate/index.ts";
import { be32, bytes, configuration, end, entry, header, repeat } from "../migration/build.ts";
import { repoRoot } from "../support/cli.ts";
import { qcow2 } from "./qcow2-image.ts";

const capture = join(repoRoot, "test/fixtures/migration/cpr-main-microvm-10.0.mig");
const stream = readFileSync(capture);
const folder = mkdtempSync(join(tmpdir(), "cprkit-unwrap-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

let count = 0;
const file = (content: Uint8Array): string => {
  const path = join(folder, String(count++));
  writeFileSync(path, content);
  return path;
};

/** What is in the file, read to its end. */
async function look(path: string, options: UnwrapOptions = {}) {
  const input = openSource(path);
  try {
    const unwrapped = await unwrap(input, options);
    const { source, offset, wrapping, problem } = unwrapped;
    const migration = await readMigration(source, { offset, toEnd: true });
    return { ...unwrapped, kinds: wrapping.map(({ kind }) => kind), migration, damage: problem() };
  } finally {
    input.close();
  }
}

const plain = await look(capture);
const facts = ({ migration }: Awaited<ReturnType<typeof look>>) => ({
  ...migration,
  offset: 0,
  trailing: undefined,
  sections: migration.sections.map(({ name, size, bodySize }) => ({ name, size, bodySize })),
  commands: migration.commands.length,
  configuration: undefined,
  vmdescription: migration.vmdescription?.text,
  ram: undefined,
});

/** What is wrong with the compression. */
async function damageOf(path: string): Promise<string | undefined> {
  const input = openSource(path);
  const { all, problem } = await unwrap(input);
  await all(1 << 24);
  input.close();
  return problem()?.message;
}

async function refusal(action: () => Promise<unknown>): Promise<string> {
  try {
    await action();
  } catch (error) {
    if (isCprkitError(error)) return `${error.code}: ${error.message}`;
    throw error;
  }
  return "no error";
}

interface Tool {
  readonly kind: string;
  readonly args: readonly string[];
}
const tools: readonly Tool[] = [
  { kind: "gzip", args: ["gzip", "-c"] },
  { kind: "zstd", args: ["zstd", "-c"] },
  { kind: "zstd", args: ["zstd", "-19", "--no-check", "-c"] },
  { kind: "xz", args: ["xz", "-c"] },
  { kind: "xz", args: ["xz", "-T2", "--block-size=9000", "-c"] },
  { kind: "lz4", args: ["lz4", "-c"] },
  { kind: "lz4", args: ["lz4", "-9", "-BD", "-B4", "-BX", "-c"] },
  { kind: "lz4", args: ["lz4", "-l", "-c"] },
  { kind: "bzip2", args: ["bzip2", "-c"] },
  { kind: "bzip2", args: ["bzip2", "-1", "-c"] },
  { kind: "lzop", args: ["lzop", "-c"] },
];

/** What the tool makes of `input`; undefined where it is not there. */
function packed({ args }: Tool, input: Uint8Array): Uint8Array | undefined {
  const [program = "", ...rest] = args;
  const { status, error, stdout } = spawnSync(program, rest, { input, maxBuffer: 1 << 30 });
  if (error !== undefined) {
    console.warn(`skipped: ${program} is not on this machine`);
    return undefined;
  }
  expect(status).toBe(0);
  return stdout;
}

/** Long runs, noise and text: what the decoders do differently. */
const mixed = bytes(
  repeat(0, 70_000),
  Uint8Array.from({ length: 300_000 }, (_, at) => (at * at * 31 + (at >> 3)) & 0xff),
  repeat(7, 300_000),
  ...Array.from({ length: 40 }, (_, at) => `some text ${at} `.repeat(at)),
  noise(500_000),
);

/** Bytes that nothing makes shorter; the same each time. */
function noise(length: number): Uint8Array {
  let state = 1;
  return Uint8Array.from({ length }, () => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return state & 0xff;
  });
}

describe("compressed", () => {
  for (const tool of tools) {
    test(`by ${tool.args.join(" ")}`, async () => {
      const made = packed(tool, stream);
      if (made === undefined) return;
      const found = await look(file(made));
      expect(found).toMatchObject({ kinds: [tool.kind], damage: undefined });
      expect(facts(found)).toEqual(facts(plain));
      // What is long goes through many blocks, and comes out as it was.
      const input = openSource(file(packed(tool, mixed) ?? new Uint8Array()));
      const whole = await (await unwrap(input)).all(1 << 24);
      input.close();
      expect(Buffer.from(whole).equals(mixed)).toBe(true);
    });

    test(`by ${tool.args.join(" ")}, cut or damaged: said`, async () => {
      const made = packed(tool, mixed);
      if (made === undefined) return;
      expect(await damageOf(file(made.subarray(0, made.length - 5000)))).toMatch(
        new RegExp(`^${tool.kind}: .*(?:ends|damaged)`),
      );
      // Without a check value, or one that is verified, other bytes are as good.
      if (tool.args.includes("-l") || tool.args[0] === "zstd") return;
      const damaged = made.slice();
      const at = Math.floor(made.length * 0.7);
      damaged[at] = (damaged[at] as number) ^ 0x55;
      expect(await damageOf(file(damaged))).toMatch(new RegExp(`^${tool.kind}: .*damaged`));
    });
  }

  test("a recorded file of lzop 1.04", async () => {
    const found = await look(`${capture}.lzo`);
    expect(found).toMatchObject({ kinds: ["lzop"], damage: undefined });
    expect(facts(found)).toEqual(facts(plain));
  });

  test("what came before a cut is read", async () => {
    const cut = await look(file(gzipSync(bytes(stream, noise(100_000))).subarray(0, 80_000)));
    expect(cut.damage?.message).toBe("gzip: the compressed data ends too early (unexpected end of file)");
    expect(facts(cut)).toEqual(facts(plain));
  });

  test("twice, or again and again", async () => {
    expect(await look(file(gzipSync(gzipSync(stream))))).toMatchObject({ kinds: ["gzip", "gzip"] });
    let often: Uint8Array = stream;
    for (let layer = 0; layer < 9; layer++) often = gzipSync(often);
    expect(await refusal(() => look(file(often)))).toMatch(/^ERR_LIMIT: there are more than 8 layers/);
  });

  test("a bomb is one error, with no more memory than a constant", async () => {
    const bomb = (start: Uint8Array, fill: number) => file(gzipSync(bytes(start, repeat(fill, 70 << 20))));
    const empty = bomb(new Uint8Array(), 0);
    const section = bomb(bytes(header, configuration("none"), entry(4, 1, "foo", [], { footer: false })), 0);
    const json = bomb(bytes(header, 0, 6, be32(0x7fff_ffff), "{"), 0x20);
    const before = process.memoryUsage();
    expect(await refusal(() => look(empty))).toMatch(/^ERR_BAD_MAGIC: .*found 00000000/);
    expect((await look(section)).migration.stopped?.message).toMatch(/the input ends in a section, before its footer/);
    const input = openSource(json);
    const { source } = await unwrap(input);
    const { stopped } = await readMigration(source, { maxState: 1 << 20 });
    input.close();
    expect(stopped).toMatchObject({ code: "ERR_LIMIT" });
    const { heapUsed, arrayBuffers } = process.memoryUsage();
    expect(heapUsed + arrayBuffers - before.heapUsed - before.arrayBuffers).toBeLessThan(260 << 20);
  }, 60_000);
});

describe("saved by libvirt", () => {
  const xml = "<domain type='kvm'>\n  <name>shop</name>\n</domain>\0";
  const le32 = (...values: number[]) => bytes(...values.map((value) => be32(value).reverse()));
  const save = (options: { magic?: string; format?: number; cookie?: string; big?: boolean } = {}) => {
    const { magic = "LibvirtQemudSave", format = 0, cookie = "" } = options;
    const length = xml.length + cookie.length;
    const numbers = [2, length, 1, format, cookie === "" ? 0 : xml.length];
    const words = options.big === true ? bytes(...numbers.map(be32)) : le32(...numbers);
    return bytes(magic, words, repeat(0, 56), xml, cookie);
  };

  test("raw, from a host of either byte order, with a cookie", async () => {
    const found = await look(file(bytes(save({ cookie: "<cookie/>\0" }), stream)));
    expect(found.wrapping).toEqual([
      {
        kind: "libvirt-save",
        offset: 0,
        size: 92 + xml.length + 10,
        save: {
          version: 2,
          complete: true,
          wasRunning: true,
          format: "raw",
          xml: xml.slice(0, -1),
          cookie: "<cookie/>",
        },
      },
    ]);
    expect(found.migration).toMatchObject({ complete: true, offset: 92 + xml.length + 10, machine: "microvm" });
    expect(await look(file(bytes(save({ big: true }), stream)))).toMatchObject({ migration: { complete: true } });
  });

  test("compressed, partial, and sparse with room after the header", async () => {
    expect(await look(file(bytes(save({ format: 1 }), gzipSync(stream))))).toMatchObject({
      kinds: ["libvirt-save", "gzip"],
      migration: { complete: true },
    });
    const partial = await look(file(bytes(save({ magic: "LibvirtQemudPart" }), stream.subarray(0, 9000))));
    expect(partial.wrapping).toMatchObject([{ save: { complete: false } }]);
    expect(partial.migration).toMatchObject({ complete: false, stopped: { code: "ERR_EOF" } });
    const sparse = await look(file(bytes(save({ format: 6 }), repeat(0, 4096), stream)));
    expect(sparse).toMatchObject({ kinds: ["libvirt-save", "bytes-before"], migration: { complete: true } });
    expect(sparse.wrapping).toMatchObject([{ save: { format: "sparse" } }, { size: 4096 }]);
  });

  test("a header that is cut, or claims too much", async () => {
    expect(await refusal(() => look(file(save().subarray(0, 60))))).toMatch(/^ERR_EOF: .*ends in libvirt's header/);
    expect(await refusal(() => look(file(save().subarray(0, 100))))).toMatch(/^ERR_EOF: .*ends in the domain's XML/);
    const huge = bytes("LibvirtQemudSave", le32(2, 0xffff_fff0, 1, 0, 0), repeat(0, 56));
    expect(await refusal(() => look(file(huge)))).toMatch(/^ERR_LIMIT: .*the XML has 4294967280 bytes/);
  });
});

describe("in a snapshot of a qcow2 image", () => {
  const image = (options: Parameters<typeof qcow2>[1] = {}) => file(qcow2(stream, options));

  test("of clusters of any size, by name or id; the snapshots are listed", async () => {
    for (const clusterBits of [9, 16]) {
      const found = await look(image({ clusterBits }), { snapshot: "before" });
      expect(found.kinds).toEqual(["qcow2"]);
      expect(facts(found)).toEqual(facts(plain));
    }
    expect(await look(image({ extendedL2: true }), { snapshot: "7" })).toMatchObject({ migration: { complete: true } });
    const input = openSource(image());
    expect((await unwrap(input)).snapshots).toMatchObject([{ id: "7", name: "before", stateSize: stream.length }]);
    input.close();
  });

  test("of any length: memory follows what is in the image", async () => {
    const sparse = image();
    truncateSync(sparse, 2 ** 42);
    const before = process.memoryUsage().arrayBuffers;
    const found = await look(sparse, { snapshot: "before" });
    expect(facts(found)).toEqual(facts(plain));
    expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(64 << 20);
  });

  test("what is not there, or can't be read, is named", async () => {
    const of = (options: Parameters<typeof qcow2>[1], snapshot = "before") =>
      refusal(() => look(image(options), { snapshot }));
    expect(await of({}, "other")).toBe('ERR_USAGE: the image has no snapshot "other": its snapshots are "before"');
    expect(await of({ stateSize: 0 })).toMatch(/^ERR_USAGE: the snapshot "before" is one of the disk alone/);
    expect(await of({ encryption: 2 })).toMatch(/an encrypted qcow2 image \(LUKS\)/);
    expect(await of({ features: 4n })).toMatch(/whose data is in another file/);
    expect(await of({ features: 1n << 40n })).toMatch(/features that are not known/);
    expect(await refusal(() => look(file(gzipSync(qcow2(stream))), { snapshot: "before" }))).toMatch(/unpack it first/);
  });

  test("tables that point in circles, or nowhere, are one error", async () => {
    const of = (options: Parameters<typeof qcow2>[1]) => refusal(() => look(image(options), { snapshot: "before" }));
    expect(await of({ circle: true })).toMatch(/^ERR_BAD_STREAM: .*points to the cluster at .*in use already/);
    expect(await of({ stateSize: 2 ** 30 })).toMatch(/^ERR_BAD_STREAM: .*its table is too short/);
    expect(await of({ stateSize: 2 ** 50 })).toMatch(/^ERR_BAD_STREAM: .*claims 1125899906842624 bytes/);
    expect(await of({ nowhere: true })).toMatch(/^ERR_BAD_STREAM: .*where the image has no cluster/);
    expect(await of({ snapshots: 70_000 })).toMatch(/^ERR_BAD_STREAM: .*70000 snapshots/);
    expect(await of({ snapshots: 60_000 })).toMatch(/^ERR_(?:EOF|BAD_STREAM)/);
  });
});

describe("with something around", () => {
  test("behind other bytes, and in a volume with a rest", async () => {
    const found = await look(file(bytes(repeat(0x41, 3_000_000), stream, repeat(0, 5000))));
    expect(found.wrapping).toEqual([{ kind: "bytes-before", offset: 0, size: 3_000_000, returnPath: [] }]);
    expect(found.migration).toMatchObject({
      complete: true,
      offset: 3_000_000,
      trailing: { offset: 3_000_000 + stream.length, size: 5000, stream: undefined },
    });
  });

  test("two streams: the first is read by its own description, and the second is named", async () => {
    const other = bytes(header, configuration("other"), end('{"page_size":8192,"devices":[]}'));
    const found = await look(file(bytes(stream, other)));
    expect(facts(found)).toEqual(facts(plain));
    expect(found.migration.trailing).toEqual({
      offset: stream.length,
      size: other.length,
      stream: stream.length,
    });
    const second = await look(file(bytes(stream, other)), { offset: stream.length });
    expect(second.migration).toMatchObject({ machine: "other", complete: true, trailing: undefined });
  });

  test("the return path before it, or between its sections", async () => {
    const pong = bytes(0, 2, 0, 4, be32(1));
    const shut = bytes(0, 1, 0, 4, be32(0));
    const before = await look(file(bytes(pong, shut, stream)));
    expect(before.wrapping).toMatchObject([{ kind: "bytes-before", size: 16, returnPath: ["PONG", "SHUT"] }]);
    const at = plain.migration.sections[0]?.offset ?? 0;
    const between = await look(file(bytes(stream.subarray(0, at), pong, shut, stream.subarray(at))));
    expect(between.migration).toMatchObject({ complete: true, stopped: undefined });
    expect(between.migration.problems.map(({ message }) => message)).toEqual([
      expect.stringContaining("answers of the return path (PONG, SHUT) are between the sections"),
    ]);
  });
});
