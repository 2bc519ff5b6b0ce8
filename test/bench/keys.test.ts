// What the benchmarks ask for: real-looking keys, the same for both sides.

import { execFile } from "node:child_process";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { describe, expect, it } from "vitest";
import { benchKeys, lookUpOrder, ownString } from "../../bench/cases/keys.ts";

describe("the keys", () => {
  const keys = benchKeys(100_000);

  it("come once each, always the same, and fewer are the first of more", () => {
    expect(new Set(keys.map(({ name, id }) => `${id} ${name}`)).size).toBe(100_000);
    expect(benchKeys(540)).toEqual(keys.slice(0, 540));
  });

  it("hold vectors, RAM blocks, VFIO groups, backends, and ids that are negative or far apart", () => {
    const ids = (name: RegExp) => keys.filter((key) => name.test(key.name)).map(({ id }) => id);
    expect(Math.max(...ids(/_interrupt$/))).toBe(128);
    expect(ids(/^pc\.ram$|^0000:00:03\.0_intx-(interrupt|unmask)$/)).toEqual([0, 0, 0]);
    expect(ids(/^vfio_group$/).length).toBeGreaterThan(500);
    expect(ids(/^\/objects\/mem/).length).toBeGreaterThan(1000);
    const migrated = ids(/migrated$/);
    expect(migrated.filter((id) => id < 0).length).toBeGreaterThan(1000);
    for (const id of migrated) expect(id | 0).toBe(id);
  });

  it("are asked for in an order that holds each once", () => {
    const order = lookUpOrder(7530);
    expect([...order].sort((a, b) => a - b)).toEqual(Array.from(order, (_, at) => at));
    expect([...order]).not.toEqual([...order].sort((a, b) => a - b));
    expect(ownString("0000:00:02.0/vga.vram")).toBe("0000:00:02.0/vga.vram");
  });
});

it("the benchmark names its rows when it is asked for another", async () => {
  const bench = fileURLToPath(new URL("../../bench/dist/main.js", import.meta.url));
  const failed = promisify(execFile)(process.execPath, [bench, "--only", "find,nothing"]);
  await expect(failed).rejects.toMatchObject({
    code: 2,
    stderr: expect.stringContaining('there is no "nothing": find'),
  });
});
