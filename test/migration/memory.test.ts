// Guest RAM passes; memory stays.
import { expect, it } from "vitest";
import { readMigration } from "../../src/migration/index.ts";
import {
  blockList,
  bytes,
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
} from "./build.ts";

const page = 4096;
const mib = 1 << 20;

/** A stream of `size` bytes of RAM in 64 rounds, made as it is read. `seen` is called for every chunk. */
async function* bigStream(size: number, seen: () => void): AsyncGenerator<Uint8Array, void, void> {
  yield bytes(header, configuration("test"), entry(1, 2, "ram", [blockList([["pc.ram", size]]), eos], { version: 4 }));
  const records = 256;
  const chunk = new Uint8Array(records * (8 + page)).fill(0xa5);
  const view = new DataView(chunk.buffer);
  const rounds = 64;
  for (let round = 0; round < rounds; round++) {
    yield bytes(2, 0, 0, 0, 2, BigInt(0) | 0x02n, counted("pc.ram"), 0);
    for (let at = (size / rounds) * round; at < (size / rounds) * (round + 1); at += records * page) {
      for (let i = 0; i < records; i++) view.setBigUint64(i * (8 + page), BigInt(at + i * page) | 0x28n);
      seen();
      yield chunk;
    }
    yield bytes(eos, 0x7e, 0, 0, 0, 2);
  }
  const timer = device("timer", [{ name: "a", type: "uint32", size: 4 }]);
  yield bytes(further(3, 2, eos), entry(4, 1, "timer", repeat(0, 4)), end(vmdesc(timer)));
}

async function peakOf(size: number): Promise<number> {
  let peak = 0;
  const before = used();
  const migration = await readMigration(
    bigStream(size, () => {
      peak = Math.max(peak, used() - before);
    }),
  );
  expect(migration.stopped).toBeUndefined();
  expect(migration.complete).toBe(true);
  expect(migration.ram).toMatchObject({ pages: size / page, bytes: size });
  expect(migration.sections.at(-1)?.fields).toHaveLength(1);
  return peak;
}

function used(): number {
  return process.memoryUsage().rss;
}

it("needs no more memory for 2 GiB of RAM than for 64 MiB", async () => {
  await peakOf(64 * mib);
  const small = await peakOf(64 * mib);
  const large = await peakOf(2048 * mib);
  console.info(
    `memory grew by ${(small / mib).toFixed(1)} MiB with 64 MiB of RAM, ${(large / mib).toFixed(1)} MiB with 2 GiB`,
  );
  // A part in 32 of what passed, beside the engine's own garbage.
  expect(large - small).toBeLessThan((2048 * mib) / 32);
});
