// One process that stands for many agents (scripts/fleet/simulate.mjs): real queues, the ledger's real functions under each host's own
// role, and a wait in place of the update. Words: URL with ROLE in it, name, first host, end, milliseconds of an update.

import { setTimeout as sleep } from "node:timers/promises";
import { DBOS } from "@dbos-inc/dbos-sdk";
import { claim, fence, finish, heartbeat } from "../dist/ledger/host.js";
import { makePool } from "../dist/ledger/pool.js";

const [url = "", name = "", from = "0", to = "0", ms = "0"] = process.argv.slice(2);
const pools = new Map();
const memories = new Map();
for (let at = Number(from); at < Number(to); at++) {
  const host = `s${at}`;
  // As an agent: two connections, here one for the ledger and a share of one for the queue.
  pools.set(host, makePool({ url: url.replace("ROLE", `host-${host}`) }, 1, `sim ${host}`));
  memories.set(host, { epoch: 0, seen: undefined });
}
const beat = async () => {
  for (const [host, pool] of pools) memories.set(host, (await heartbeat(pool, memories.get(host), {})).memory);
};

DBOS.registerWorkflow(
  (rollout, vm) =>
    DBOS.runStep(
      async () => {
        const host = vm.split("-")[0];
        const pool = pools.get(host);
        const attempt = await claim(pool, { rollout, vm }, memories.get(host));
        if ("why" in attempt) return attempt;
        await sleep(Number(ms));
        const why = await fence(pool, attempt);
        await finish(
          pool,
          attempt,
          why === undefined ? { state: "updated", downtimeMs: 5 } : { state: "planned", why },
        );
        return { did: "updated" };
      },
      { name: "update" },
    ),
  { name: "update" },
);
const queues = [...pools.keys()].map((host) => `host-${host}`);
DBOS.setConfig({
  ...{ name: "cprkit-fleet", applicationVersion: "1", executorID: name, listenQueues: queues, runMigrations: false },
  ...{ systemDatabaseUrl: url.replace("ROLE", "ops"), systemDatabasePoolSize: queues.length, useListenNotify: false },
  ...{ logLevel: "error", maxConcurrentQueueDispatches: 8 },
});
await DBOS.launch();
for (const queue of queues) await DBOS.registerQueue(queue, { workerConcurrency: 1, minPollingIntervalMs: 1_000 });
await beat();
setInterval(() => beat().catch(() => {}), 5_000);
process.stdout.write("ready\n");
