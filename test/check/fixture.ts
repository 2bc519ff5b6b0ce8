// The corpus as data: what QEMU did with each pair, and the streams without guest RAM.
import { readFileSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { brotliCompressSync, brotliDecompressSync, constants } from "node:zlib";
import { type Migration, readMigrationBytes } from "../../src/migration/index.ts";
import type { Measured } from "./corpus.ts";

const folder = fileURLToPath(new URL("../fixtures/check/", import.meta.url));

/** What is kept of a measured pair. */
export type Verdict = Omit<Measured, "problem">;

export interface Corpus {
  readonly verdicts: readonly Verdict[];
  /** Each stream by its name. */
  readonly streams: ReadonlyMap<string, Uint8Array>;
}

export function readCorpus(): Corpus {
  const index = JSON.parse(readFileSync(`${folder}corpus.json`, "utf8")) as {
    readonly verdicts: Verdict[];
    readonly streams: Readonly<Record<string, number>>;
  };
  const all = brotliDecompressSync(readFileSync(`${folder}streams.br`));
  const streams = new Map<string, Uint8Array>();
  let at = 0;
  for (const [name, size] of Object.entries(index.streams)) {
    streams.set(name, new Uint8Array(all.buffer, all.byteOffset + at, size));
    at += size;
  }
  return { verdicts: index.verdicts, streams };
}

/** `streamOf` gives a stream as it was saved. */
export function writeCorpus(measured: readonly Measured[], streamOf: (name: string) => Uint8Array): void {
  const sizes: Record<string, number> = {};
  const parts: Uint8Array[] = [];
  for (const name of measured.flatMap(({ source, destination }) => [source, destination])) {
    if (sizes[name] !== undefined) continue;
    const part = withoutRam(streamOf(name));
    sizes[name] = part.length;
    parts.push(part);
  }
  const whole = Buffer.concat(parts);
  const packed = brotliCompressSync(whole, {
    params: {
      [constants.BROTLI_PARAM_QUALITY]: 9,
      [constants.BROTLI_PARAM_LGWIN]: 24,
      [constants.BROTLI_PARAM_SIZE_HINT]: whole.length,
    },
  });
  writeFileSync(`${folder}streams.br`, packed);
  const verdicts = measured.map(({ kind, name, source, destination, qemus, loads, error }) =>
    JSON.stringify({ kind, name, source, destination, qemus, loads, error }),
  );
  writeFileSync(
    `${folder}corpus.json`,
    `{"verdicts":[\n${verdicts.join(",\n")}\n],\n"streams":${JSON.stringify(sizes)}}\n`,
  );
}

/** Header, configuration, the RAM blocks' list, all devices, the description: a stream that reads the same but for RAM. */
function withoutRam(bytes: Uint8Array): Uint8Array {
  const { sections, configuration, vmdescription } = readMigrationBytes(bytes) satisfies Migration;
  const copy = (offset: number, size: number) => bytes.subarray(offset, offset + size);
  const parts = [copy(0, 8)];
  if (configuration !== undefined) parts.push(copy(configuration.offset, configuration.size));
  for (const { type, id, offset, size } of sections) {
    if (type === "full" || type === "start") parts.push(copy(offset, size));
    if (type !== "end") continue;
    const end = Buffer.alloc(18);
    end.writeUInt8(3, 0);
    end.writeUInt32BE(id, 1);
    // The end of RAM's records, then the section's footer.
    end.writeUInt32BE(0x10, 9);
    end.writeUInt8(0x7e, 13);
    end.writeUInt32BE(id, 14);
    parts.push(end);
  }
  parts.push(new Uint8Array(1));
  if (vmdescription !== undefined) parts.push(copy(vmdescription.offset, vmdescription.size));
  return new Uint8Array(Buffer.concat(parts));
}
