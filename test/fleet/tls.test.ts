// PostgreSQL over TLS: who shows no certificate, another's, or one for another role gets nothing; whoever stands in the
// server's place without its certificate neither.

import { mkdtempSync, rmSync } from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { Config } from "../../fleet/src/config.ts";
import { heartbeat } from "../../fleet/src/ledger/host.ts";
import { makePool } from "../../fleet/src/ledger/pool.ts";
import { addHost, setUp } from "../../fleet/src/ledger/setup.ts";
import { makeAuthority } from "../../scripts/fleet/certificates.mjs";
import { startPostgres, whyNoPostgres } from "../../scripts/fleet/postgres.mjs";

const why = whyNoPostgres();
if (why !== undefined) console.warn(`skipped: a ledger over TLS: ${why}`);

describe.skipIf(why !== undefined)(`a ledger over TLS${why === undefined ? "" : ` [${why}]`}`, () => {
  const dir = mkdtempSync(join(tmpdir(), "cprkit-tls-"));
  let postgres: Awaited<ReturnType<typeof startPostgres>>;
  let port: number;
  let ours: Awaited<ReturnType<typeof makeAuthority>>;
  let theirs: Awaited<ReturnType<typeof makeAuthority>>;
  let hostA: { readonly cert: string; readonly key: string };

  beforeAll(async () => {
    [ours, theirs] = [await makeAuthority(join(dir, "ours")), await makeAuthority(join(dir, "theirs"))];
    hostA = await ours.issue("host-a");
    const server = await ours.issue("server", ["localhost"]);
    port = await freePort();
    postgres = await startPostgres(join(dir, "db"), { tls: { port, ca: ours.ca, ...server } });
    const config = { database: { url: postgres.url() } };
    const owner = makePool(config.database, 2, "owner");
    await setUp(config, owner);
    await addHost(owner, { name: "a", rack: "" });
    await addHost(owner, { name: "b", rack: "" });
    await owner.end();
  });
  afterAll(async () => {
    await postgres?.stop();
    rmSync(dir, { recursive: true, force: true });
  });

  async function hostOf(user: string, files: Omit<Config["database"], "url">, name = "localhost"): Promise<unknown> {
    const pool = makePool({ url: `postgresql://${user}@${name}:${port}/fleet`, ...files }, 1, "test");
    try {
      const { rows } = await pool.query("select cprkit_fleet.my_host() as me");
      return rows[0].me;
    } finally {
      await pool.end();
    }
  }

  it("a host is who its certificate says, and the trail has the certificate", async () => {
    expect(await hostOf("host-a", { ca: ours.ca, ...hostA })).toBe("a");
    const pool = makePool({ url: `postgresql://host-a@localhost:${port}/fleet`, ca: ours.ca, ...hostA }, 1, "test");
    // What it remembers is not known: that is a change of its row, which the trail has.
    expect(await heartbeat(pool, { epoch: 9, seen: undefined }, {})).toMatchObject({ isKnown: false });
    const { rows } = await pool.query("select ssl, client_dn from pg_stat_ssl where pid = pg_backend_pid()");
    await pool.end();
    expect(rows).toEqual([{ ssl: true, client_dn: "/CN=host-a" }]);
    const own = makePool({ url: postgres.url() }, 1, "owner");
    const trail = await own.query("select who, certificate from cprkit_fleet.audit where what = 'host-changed'");
    await own.end();
    expect(trail.rows).toEqual([{ who: "host-a", certificate: "/CN=host-a" }]);
  });

  it("nobody else is let in", async () => {
    await expect(hostOf("host-b", { ca: ours.ca, ...hostA })).rejects.toThrow(/certificate authentication failed/);
    await expect(hostOf("host-a", { ca: ours.ca })).rejects.toThrow(/certificate/);
    const forged = await theirs.issue("host-a");
    await expect(hostOf("host-a", { ca: ours.ca, ...forged })).rejects.toThrow(/SSL alert/);
    // Without TLS there is no way in at all.
    await expect(hostOf("host-a", {})).rejects.toThrow(/no pg_hba.conf entry/);
  });

  it("a server of another authority, or of another name, is not believed", async () => {
    await expect(hostOf("host-a", { ca: theirs.ca, ...hostA })).rejects.toThrow(/certificate|self.signed/i);
    await expect(hostOf("host-a", { ca: ours.ca, ...hostA }, "127.0.0.1")).rejects.toThrow(/altnames|does not match/i);
  });
});

function freePort(): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer().once("error", reject);
    server.listen(0, "127.0.0.1", () => {
      const address = server.address();
      server.close(() => resolve(typeof address === "object" && address !== null ? address.port : 0));
    });
  });
}
