// What is done once, with the rights of the database's owner: the schemas, and a role for each host.

import type { Config } from "../config.ts";
import { grantEngine, migrateEngine } from "../engine.ts";
import { messageOf } from "../error.ts";
import { migrate } from "./migrate.ts";
import { inTransaction, type Pool } from "./pool.ts";

/** Makes and changes both schemas. @returns the names of the ledger's files that were applied */
export function setUp(config: Config, pool: Pool): Promise<string[]> {
  return migrate(pool, () => migrateEngine(config, pool)).then(async (applied) => {
    await grantEngine(pool);
    return applied;
  });
}

/**
 * Makes a host known, with a role of its own that has no password: its certificate, or the server's rules for its
 * address, say who it is. Of a host that is known already the rack may change.
 */
export async function addHost(
  pool: Pool,
  { name, rack, role = `host-${name}` }: { readonly name: string; readonly rack: string; readonly role?: string },
): Promise<void> {
  await inTransaction(pool, async (db) => {
    await addRole(db, role, "cprkit_fleet_host");
    await db.query(
      "insert into cprkit_fleet.host (name, role, rack) values ($1, $2, $3) on conflict (name) do update set rack = $3",
      [name, role, rack],
    );
  });
}

/** Makes a role for people, or for the coordinator. */
export async function addOperator(pool: Pool, role: string): Promise<void> {
  await inTransaction(pool, (db) => addRole(db, role, "cprkit_fleet_operator"));
}

async function addRole(db: Pick<Pool, "query">, role: string, group: string): Promise<void> {
  // A role can't be named by a parameter.
  const { rows } = await db.query<{ name: string }>("select quote_ident($1) as name", [role]);
  const name = rows[0]?.name ?? "";
  const { rowCount } = await db.query("select from pg_roles where rolname = $1", [role]);
  if (rowCount === 0) await db.query(`create role ${name} login`);
  await db.query(`grant ${group} to ${name}`).catch((error: unknown) => {
    throw new Error(`role ${role}: ${messageOf(error)}`, { cause: error });
  });
}
