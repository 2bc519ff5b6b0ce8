// DBOS, which carries the jobs: durable queues on PostgreSQL, and what was begun is begun again by whoever comes back.
// It is trusted with nothing else. Three rules, learnt by trying (docs/decisions has the reasons):
// - every workflow is on a queue with a name, for what is on none is recovered by any process at all;
// - the application's version never changes, or jobs of the time before an agent's upgrade stay for ever;
// - an agent migrates nothing.

import { DBOS } from "@dbos-inc/dbos-sdk";
import type { Config } from "./config.ts";
import type { Db, Pool } from "./ledger/pool.ts";

const application = { name: "cprkit-fleet", applicationVersion: "1" };

/** The names of jobs, as they stand in the database. */
export const jobs = { update: "update", plan: "plan", rollout: "rollout" } as const;
export const coordinatorQueue = "coordinator";
export const queueOf = (host: string) => `host-${host}`;

/** Brings the engine's schema up to date. */
export async function migrateEngine(config: Config, pool: Pool): Promise<void> {
  DBOS.setConfig({
    ...application,
    ...common(config, pool),
    executorID: "migrate",
    runMigrations: true,
    listenQueues: [],
  });
  await DBOS.launch();
  await DBOS.shutdown();
}

/** What the agents and the operator may do in the engine's schema: all of its jobs are each other's. */
export async function grantEngine(db: Db): Promise<void> {
  const roles = "cprkit_fleet_operator, cprkit_fleet_host";
  await db.query(`grant usage on schema dbos to ${roles}`);
  await db.query(`grant select, insert, update, delete on all tables in schema dbos to ${roles}`);
  await db.query(`grant usage on all sequences in schema dbos to ${roles}`);
  await db.query(`grant execute on all functions in schema dbos to ${roles}`);
}

/** The engine has them for the whole process; a launch that failed may come again. */
const registered = new Set<string>();

/** The engine gives a job up that was begun so often; a rollout of weeks may outlive any number of coordinators. */
const maxRecoveryAttempts = 1_000_000_000;

/** A job's name and what it does. */
export type Work = Readonly<Record<string, (...args: string[]) => Promise<unknown>>>;

/**
 * Serves one queue until the returned function is called.
 *
 * @param id the same after a restart: its unfinished jobs are begun again
 * @throws Error when the database can't be reached, or is not migrated
 */
export async function serve(
  config: Config,
  pool: Pool,
  {
    id,
    queue,
    pollMs,
    concurrency = 1,
    work,
  }: {
    readonly id: string;
    readonly queue: string;
    readonly pollMs: number;
    readonly concurrency?: number;
    readonly work: Work;
  },
): Promise<() => Promise<void>> {
  for (const [name, act] of Object.entries(work)) {
    if (registered.has(name)) continue;
    registered.add(name);
    // One step: when it is begun again it looks at how things are, and goes on from there.
    DBOS.registerWorkflow((...args: string[]) => DBOS.runStep(() => act(...args), { name }), {
      ...{ name, maxRecoveryAttempts },
    });
  }
  DBOS.setConfig({
    ...{ ...application, ...common(config, pool), executorID: id, runMigrations: false, listenQueues: [queue] },
    maxConcurrentQueueDispatches: 1,
  });
  await DBOS.launch();
  await DBOS.registerQueue(queue, { workerConcurrency: concurrency, minPollingIntervalMs: pollMs });
  // A job that is under way comes to its end, which the signal hastens.
  return () => DBOS.shutdown({ workflowCompletionTimeoutMS: 120_000 });
}

function common({ database }: Config, pool: Pool) {
  return {
    systemDatabaseUrl: database.url,
    systemDatabasePool: pool,
    logLevel: process.env["CPRKIT_FLEET_LOG"] ?? "error",
    // It would hold a connection of its own.
    useListenNotify: false,
  };
}

/** Puts a job on a queue, in the caller's transaction. A job of the same id is there once. */
export async function enqueue(db: Db, queue: string, job: string, id: string, args: readonly string[]): Promise<void> {
  await db.query(
    `select dbos.enqueue_workflow($1, $2, (select array_agg(to_json(arg)) from unnest($3::text[]) arg),
      workflow_id => $4, app_version => $5, application_name => $6)`,
    [job, queue, args, id, application.applicationVersion, application.name],
  );
}

/**
 * VMs that are queued although their job is over get another turn: the agent has not taken them in hand, as when the rollout
 * was paused just then. @returns how many
 */
export async function queueAnew(db: Db, rollout: string): Promise<number> {
  const { rowCount } = await db.query(
    `update cprkit_fleet.rollout_vm v set state = 'planned'
      from dbos.workflow_status job
      where v.rollout = $1 and v.state = 'queued'
        and job.workflow_uuid = v.rollout || '/' || v.host || '/' || v.vm || '/' || v.attempt
        and job.status not in ('ENQUEUED', 'PENDING', 'DELAYED')`,
    [rollout],
  );
  return rowCount ?? 0;
}

/** Puts the update of each VM on its host's queue, and writes both down together, in one statement for all. */
export async function enqueueVms(
  db: Db,
  rollout: string,
  vms: readonly { readonly host: string; readonly vm: string; readonly trace?: string | undefined }[],
): Promise<number> {
  const { rowCount } = await db.query(
    `with begun as (
      update cprkit_fleet.rollout_vm v set state = 'queued', attempt = attempt + 1, queued_at = now(), trace = turn.trace
        from unnest($2::text[], $3::text[], $7::text[]) as turn (host, vm, trace)
        where v.rollout = $1 and v.host = turn.host and v.vm = turn.vm and v.state = 'planned'
          and exists (select from cprkit_fleet.rollout where id = $1 and state = 'running')
          and not exists (
            select from cprkit_fleet.rollout_vm other where other.host = v.host and other.vm = v.vm
              and other.state in ('queued', 'claimed', 'switching')
          )
        returning v.host, v.vm, v.attempt
    )
    select dbos.enqueue_workflow($4, 'host-' || host, array[to_json($1::text), to_json(vm)],
      workflow_id => $1 || '/' || host || '/' || vm || '/' || attempt, app_version => $5, application_name => $6)
    from begun`,
    [
      rollout,
      vms.map(({ host }) => host),
      vms.map(({ vm }) => vm),
      ...[jobs.update, application.applicationVersion, application.name],
      vms.map(({ trace }) => trace ?? null),
    ],
  );
  return rowCount ?? 0;
}
