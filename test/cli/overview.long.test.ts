// The overview of a stream of many sections takes time in proportion to them, and hardly more than --json: ratios of the
// CPU's time, the shortest of three runs.

import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { be32, bytes, configuration, device, end, entry, header, vmdesc } from "../migration/build.ts";
import { cprkit } from "../support/cli.ts";

const folder = mkdtempSync(join(tmpdir(), "cprkit-overview-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

function stream(count: number): string {
  const names = Array.from({ length: count }, (_, at) => `dev${at}`);
  const path = join(folder, `${count}.mig`);
  const sections = names.map((name, at) => entry(4, at + 1, name, be32(at)));
  const devices = names.map((name) => device(name, [{ name: "value", type: "uint32", size: 4 }]));
  writeFileSync(path, bytes(header, configuration("many"), sections, end(vmdesc(...devices))));
  return path;
}

/** The time of the CPU, in ms, that the process says at its end: other work on the machine does not count. */
const saysTime =
  "process.on('exit',()=>{const{user,system}=process.cpuUsage();process.stderr.write('cpu '+(user+system)/1000)})";

function shortest(args: readonly string[]): number {
  const times = [1, 2, 3].map(() => {
    const { code, stderr } = cprkit(args, {
      env: { NODE_OPTIONS: `--import data:text/javascript,${encodeURIComponent(saysTime)}` },
    });
    expect(code).toBe(0);
    return Number(/^cpu ([\d.]+)$/.exec(stderr)?.[1]);
  });
  return Math.min(...times);
}

test("8,000 and 60,000 sections", () => {
  const [few, many] = [stream(8_000), stream(60_000)];
  const ofFew = shortest(["inspect", few]);
  const ofMany = shortest(["inspect", many]);
  console.info(`overview: ${Math.round(ofFew)} ms of 8,000 sections, ${Math.round(ofMany)} ms of 60,000`);
  expect(ofMany / ofFew).toBeLessThan(1.5 * (60_000 / 8_000));
  expect(ofFew / shortest(["inspect", few, "--json"])).toBeLessThan(1.3);
  expect(ofMany / shortest(["inspect", many, "--json"])).toBeLessThan(1.3);
}, 300_000);
