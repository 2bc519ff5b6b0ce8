// A PostgreSQL of a test's own, with a fleet's ledger in it.

import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe } from "vitest";
import type { Config } from "../../fleet/src/config.ts";
import { createRollout, setState } from "../../fleet/src/ledger/operator.ts";
import { makePool, type Pool } from "../../fleet/src/ledger/pool.ts";
import { addHost, addOperator, setUp } from "../../fleet/src/ledger/setup.ts";
import { policySchema } from "../../fleet/src/waves/policy.ts";
import { startPostgres, whyNoPostgres } from "../../scripts/fleet/postgres.mjs";

export interface FleetDatabase {
  /** A folder of the suite's own, removed at its end. */
  readonly dir: string;
  readonly postgres: Awaited<ReturnType<typeof startPostgres>>;
  /** The database's owner, who may make roles and is no superuser. */
  readonly owner: Pool;
  configOf(role: string): Config;
  /** Connections as a role, closed at the suite's end. */
  as(role: string): Pool;
}

/** A suite with a database of three hosts a, b and c in racks r1, r1 and r2, and the operator "ops". */
export function describeFleet(name: string, body: (fleet: () => FleetDatabase) => void): void {
  const why = whyNoPostgres();
  if (why !== undefined && process.env["CPRKIT_REQUIRE_QEMU"] === "1" && why.includes("cache")) {
    describe(name, (): never => {
      throw new Error(`${why} (CPRKIT_REQUIRE_QEMU=1 makes this a failure)`);
    });
    return;
  }
  if (why !== undefined) {
    console.warn(`skipped: ${name}: ${why}`);
    describe.skip(`${name} [${why}]`, () => body(() => ({}) as FleetDatabase));
    return;
  }
  describe(name, () => {
    let fleet: FleetDatabase;
    const pools: Pool[] = [];
    beforeAll(async () => {
      const dir = mkdtempSync(join(tmpdir(), "cprkit-fleet-"));
      const postgres = await startPostgres(join(dir, "db"));
      const configOf = (role: string) => ({ database: { url: postgres.url(role) } });
      const as = (role: string) => {
        const pool = makePool(configOf(role).database, 2, `test ${role}`);
        pools.push(pool);
        return pool;
      };
      // Of the database only: the ledger needs no superuser.
      const root = as("postgres");
      await root.query("create role fleet_owner login createrole");
      await root.query("alter database fleet owner to fleet_owner");
      const owner = as("fleet_owner");
      await setUp(configOf("fleet_owner"), owner);
      await addOperator(owner, "ops");
      for (const [host, rack] of [
        ["a", "r1"],
        ["b", "r1"],
        ["c", "r2"],
      ] as const) {
        await addHost(owner, { name: host, rack });
      }
      fleet = { dir, postgres, owner, configOf, as };
    });
    afterAll(async () => {
      await Promise.all(pools.map((pool) => pool.end()));
      await fleet.postgres.stop();
      rmSync(fleet.dir, { recursive: true, force: true });
    });
    body(() => fleet);
  });
}

/** A rollout that runs, with these VMs as "host/vm", all in the first wave and queued. */
export async function makeRollout(ops: Pool, id: string, vms: readonly string[]): Promise<void> {
  const policy = policySchema.parse({});
  await createRollout(ops, { id, kind: "update", undoes: null, release: "new", policy });
  for (const [host, vm] of vms.map((each) => each.split("/"))) {
    await ops.query(
      "insert into cprkit_fleet.rollout_vm (rollout, host, vm, release, wave) values ($1, $2, $3, 'new', 1)",
      [id, host, vm],
    );
  }
  await setState(ops, id, "planned", { from: ["planning"] });
  await setState(ops, id, "running", { from: ["planned"] });
}
