// 5,000 VMs on 200 hosts, without QEMU: few connections, enqueueing that holds nobody up, and time that grows with the VMs.

import { spawnSync } from "node:child_process";
import { join } from "node:path";
import { expect, it } from "vitest";
import { whyNoPostgres } from "../../scripts/fleet/postgres.mjs";
import { repoRoot } from "../support/cli.ts";

const why = whyNoPostgres();
if (why !== undefined) console.warn(`skipped: 5,000 VMs on 200 hosts: ${why}`);

it.skipIf(why !== undefined)(
  `5,000 VMs on 200 hosts${why === undefined ? "" : ` [${why}]`}`,
  () => {
    const words = [join(repoRoot, "scripts/fleet/simulate.mjs")];
    const { status, stdout, stderr } = spawnSync(process.execPath, words, { encoding: "utf8", timeout: 900_000 });
    expect(status, stderr).toBe(0);
    const { results } = JSON.parse(stdout.trim().split("\n").at(-1) ?? "") as {
      readonly results: readonly Record<"vms" | "updated" | "seconds" | "enqueuedPerSecond" | "connections", number>[];
    };
    console.log(stdout.trim());
    expect(results.map(({ vms, updated }) => vms - updated)).toEqual([0, 0, 0]);
    for (const { connections, enqueuedPerSecond } of results) {
      expect(connections).toBeLessThanOrEqual(400);
      expect(enqueuedPerSecond).toBeGreaterThanOrEqual(1_000);
    }
    const [, half, whole] = results;
    // Twice the VMs: about twice the time, whatever this machine is.
    expect((whole?.seconds ?? 0) / (half?.seconds ?? 1)).toBeLessThan(3);
  },
  1_000_000,
);
