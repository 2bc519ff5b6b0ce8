// Connections to the database: few, and over TLS as the configuration says.

import { readFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import pg from "pg";
import type { Config } from "../config.ts";

/** Anything that answers a query: the pool, or one connection of it in a transaction. */
export type Db = Pick<pg.Pool, "query">;
export type Pool = pg.Pool;

/**
 * A pool of at most `max` connections. An idle one that breaks is no error: the next query makes another.
 *
 * @param answerMs a query that is not answered within this time is an error; without it one waits as long as the server does
 * @throws Error when a file of a certificate can't be read
 */
export function makePool(
  { url, ca, cert, key }: Config["database"],
  max: number,
  applicationName: string,
  answerMs?: number,
): Pool {
  const read = (path: string | undefined) => (path === undefined ? undefined : readFileSync(path, "utf8"));
  const pool = new pg.Pool({
    connectionString: url,
    max,
    application_name: applicationName,
    connectionTimeoutMillis: 10_000,
    idleTimeoutMillis: 10_000,
    keepAlive: true,
    // A connection that a silent server does not close must not keep a process that is done.
    allowExitOnIdle: true,
    ...(answerMs === undefined ? {} : { query_timeout: answerMs }),
    // With a `ca` the name in the server's certificate is checked as well, as libpq's verify-full does.
    ...(ca === undefined ? {} : { ssl: { ca: read(ca), cert: read(cert), key: read(key), rejectUnauthorized: true } }),
  });
  pool.on("error", () => {});
  return pool;
}

/** Closes all connections; a server that is silent is not waited for. */
export async function closePool(pool: Pool): Promise<void> {
  await Promise.race([pool.end(), sleep(2_000, undefined, { ref: false })]);
}

/** Runs `work` in one transaction. What it throws takes everything back. */
export async function inTransaction<T>(pool: Pool, work: (db: pg.PoolClient) => Promise<T>): Promise<T> {
  const client = await pool.connect();
  let broken: Error | undefined;
  try {
    await client.query("begin");
    const result = await work(client);
    await client.query("commit");
    return result;
  } catch (error) {
    await client.query("rollback").catch((failed: Error) => {
      broken = failed;
    });
    throw error;
  } finally {
    client.release(broken);
  }
}
