// Brings the ledger's schema up to date: the files of migrations/, each once, in order.

import { readdirSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import type pg from "pg";
import { inTransaction, type Pool } from "./pool.ts";

const folder = fileURLToPath(new URL("../../migrations/", import.meta.url));
/** Held while somebody migrates, so that two do it one after the other. Any number that nobody else takes. */
const lockKey = 0x6672_6b74;

/**
 * Applies what is missing. `engine` is run under the same lock, before the ledger's own files: several that migrated an
 * empty database at once were seen to die of a deadlock.
 *
 * @returns the names of the files that were applied
 */
export async function migrate(pool: Pool, engine: () => Promise<void>): Promise<string[]> {
  const client = await pool.connect();
  try {
    await client.query("select pg_advisory_lock($1)", [lockKey]);
    try {
      await engine();
      const applied: string[] = [];
      for (const name of await missing(client)) {
        await inTransaction(pool, async (db) => {
          await db.query(readFileSync(`${folder}${name}`, "utf8"));
          await db.query("insert into cprkit_fleet.migration (name) values ($1)", [name]);
        });
        applied.push(name);
      }
      return applied;
    } finally {
      await client.query("select pg_advisory_unlock($1)", [lockKey]);
    }
  } finally {
    client.release();
  }
}

async function missing(client: pg.PoolClient): Promise<string[]> {
  await client.query("create schema if not exists cprkit_fleet");
  await client.query(
    "create table if not exists cprkit_fleet.migration (name text primary key, at timestamptz not null default now())",
  );
  const { rows } = await client.query<{ name: string }>("select name from cprkit_fleet.migration");
  const done = new Set(rows.map(({ name }) => name));
  return readdirSync(folder)
    .filter((name) => name.endsWith(".sql") && !done.has(name))
    .sort();
}
