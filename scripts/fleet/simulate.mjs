// A fleet on paper: 200 hosts, up to 5,000 VMs, a real PostgreSQL, real queues and ledger, no QEMU. Says how fast VMs are
// put on queues, how long rollouts of three sizes take, and how many connections there are at most.
//
//   node scripts/fleet/simulate.mjs [--hosts 200] [--vms 5000] [--update-ms 20]

import { spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";
import { drive } from "../../fleet/dist/coordinator/drive.js";
import { createRollout, setState } from "../../fleet/dist/ledger/operator.js";
import { makePool } from "../../fleet/dist/ledger/pool.js";
import { addHost, addOperator, setUp } from "../../fleet/dist/ledger/setup.js";
import { policySchema } from "../../fleet/dist/waves/policy.js";
import { startPostgres } from "./postgres.mjs";

const { values } = parseArgs({
  options: {
    hosts: { type: "string", default: "200" },
    vms: { type: "string", default: "5000" },
    "update-ms": { type: "string", default: "20" },
  },
});
const [hosts, most] = [Number(values.hosts), Number(values.vms)];
const processes = 4;

const dir = mkdtempSync(join(tmpdir(), "cprkit-fleet-sim-"));
const postgres = await startPostgres(dir, { settings: ["max_connections=450", "shared_buffers=256MB"] });
const children = [];
try {
  const config = { database: { url: postgres.url() } };
  const owner = makePool(config.database, 3, "sim owner");
  await setUp(config, owner);
  await addOperator(owner, "ops");
  for (let at = 0; at < hosts; at++) await addHost(owner, { name: `s${at}`, rack: `r${at % 10}` });
  const each = Math.ceil(hosts / processes);
  for (let at = 0; at < processes; at++) {
    const range = [at * each, Math.min(hosts, (at + 1) * each), values["update-ms"]].map(String);
    const words = [
      fileURLToPath(new URL("../../fleet/simulation/agents.mjs", import.meta.url)),
      postgres.url("ROLE"),
      `sim${at}`,
    ];
    const child = spawn(process.execPath, [...words, ...range], { stdio: ["ignore", "pipe", "inherit"] });
    children.push(child);
    await new Promise((resolve, reject) => {
      child.stdout.once("data", resolve);
      child.once("exit", () => reject(new Error("simulated agents ended")));
    });
  }
  const ops = makePool({ url: postgres.url("ops") }, 6, "cprkit-fleet coordinator");
  const results = [];
  for (const vms of [most / 4, most / 2, most]) results.push(await roll(owner, ops, vms));
  process.stdout.write(`${JSON.stringify({ hosts, results })}\n`);
  await ops.end();
  await owner.end();
} finally {
  for (const child of children) child.kill("SIGKILL");
  await postgres.stop();
  rmSync(dir, { recursive: true, force: true });
}

async function roll(owner, ops, vms) {
  const id = `sim-${vms}`;
  const policy = policySchema.parse({ waves: [], perHost: vms, budget: 0, onDeadHost: "go-on" });
  await createRollout(ops, { id, kind: "update", undoes: null, release: "new", policy });
  await ops.query(
    `insert into cprkit_fleet.rollout_vm (rollout, host, vm, release, wave)
      select $1, 's' || n % $2, 's' || n % $2 || '-v' || n / $2, 'new', 1 from generate_series(0, $3 - 1) n`,
    [id, hosts, vms],
  );
  await setState(ops, id, "planned", { from: ["planning"] });
  await setState(ops, id, "running", { from: ["planned"] });
  const count = async (query) => Number((await owner.query(query)).rows[0].n);
  const transactions = "select xact_commit as n from pg_stat_database where datname = 'fleet'";
  const before = await count(transactions);
  let connections = 0;
  const watch = setInterval(async () => {
    const now = await count("select count(*) as n from pg_stat_activity where datname = 'fleet'").catch(() => 0);
    connections = Math.max(connections, now);
  }, 500);
  let enqueueMs = 0;
  const begin = performance.now();
  // The first look puts all of them on their queues: how long until the ledger says so.
  const queued = (async () => {
    const waiting = `select count(*) as n from cprkit_fleet.rollout_vm where rollout = '${id}' and state = 'planned'`;
    while ((await count(waiting)) > 0) await new Promise((resolve) => setTimeout(resolve, 20));
    enqueueMs = performance.now() - begin;
  })();
  const { state } = await drive({ pool: ops, signal: new AbortController().signal }, id);
  await queued;
  const seconds = (performance.now() - begin) / 1000;
  clearInterval(watch);
  const updated = await count(
    `select count(*) as n from cprkit_fleet.rollout_vm where rollout = '${id}' and state = 'updated'`,
  );
  const perVm = ((await count(transactions)) - before) / vms;
  return {
    ...{
      vms,
      state,
      updated,
      seconds: Number(seconds.toFixed(1)),
      enqueuedPerSecond: Math.round((vms / enqueueMs) * 1000),
    },
    ...{ connections, transactionsPerVm: Number(perVm.toFixed(1)) },
  };
}
