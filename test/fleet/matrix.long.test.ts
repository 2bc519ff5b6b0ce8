// kill -9 of {agent, coordinator, PostgreSQL} at {each statement that an agent or the coordinator sends to PostgreSQL, each
// step of an update}: a table of what was killed where, and no point of it is missed in silence. In the end every VM has one
// QEMU, was updated once, and the ledger says what is. CPRKIT_FLEET_SEED changes order and pauses.

import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, afterEach, expect, it } from "vitest";
import { coordinatorQueue, enqueue, enqueueVms, jobs } from "../../fleet/src/engine.ts";
import { heartbeat } from "../../fleet/src/ledger/host.ts";
import { readRollout, readVmDetails } from "../../fleet/src/ledger/operator.ts";
import { resume } from "../../fleet/src/operator/steer.ts";
import { updateSteps } from "../../src/qemu/update/steps.ts";
import { endAll, runStates, type Updatable } from "../qemu/update-support.ts";
import { describeQemu } from "../support/qemu.ts";
import {
  endProcesses,
  expectRuns,
  type FleetProcess,
  faultsAt,
  fleet,
  makeHost,
  serves,
  startFleet,
} from "./fleet-processes.ts";
import { describeFleet, type FleetDatabase, makeRollout } from "./fleet-support.ts";

const victims = ["agent", "coordinator", "PostgreSQL"] as const;
type Victim = (typeof victims)[number];

const around = (names: readonly string[]) => names.flatMap((name) => [`before ${name}`, `after ${name}`]);
/** What the coordinator sends in the life of a rollout; what is the engine's own has "engine" in its name. */
const coordinatorReads = around(["lock", "read rollout", "read VMs", "read hosts"]);
const coordinatorWrites = around(["enqueue", "set state"]);
const agentStatements = around(["claim", "fence", "finish"]);
const steps = updateSteps["cpr-transfer"].map((step) => `step ${step}`);
const points = [
  ...[...coordinatorReads, ...coordinatorWrites].map((point) => `coordinator: ${point}`),
  ...[...agentStatements, ...steps].map((point) => `agent: ${point}`),
];
/** Statements beside those: an agent's heartbeat has no part in a job, the others are the engine's, or are not always sent. */
const others = new Set(["heartbeat", "read in hand", "hold", "skip", "give up", "keep trace", "queue anew"]);

const seed = Number(process.env["CPRKIT_FLEET_SEED"] ?? "1");
let random = seed;
/** A number below `count`, the same for the same seed. */
const next = (count: number) => {
  random = (random * 1_103_515_245 + 12_345) % 2 ** 31;
  return Math.floor((random / 2 ** 31) * count);
};
function shuffled<T>(items: readonly T[]): T[] {
  const left = [...items];
  return items.map(() => left.splice(next(left.length), 1)[0] as T);
}
/** How long what was killed stays away: part of the fault, nothing is waited for by it. */
const away = () => sleep(next(1_200));

const killed = new Map<string, Set<Victim>>(points.map((point) => [point, new Set()]));
const unknown = new Set<string>();

/** Writes down what died where. */
function note(point: string, victim: Victim): void {
  const row = killed.get(point);
  if (row === undefined) throw new Error(`${point} is no point of the table`);
  row.add(victim);
}

/** Statements of a process that the table does not have. */
function look({ events }: FleetProcess): void {
  for (const { event, name } of events) {
    const point = `before ${String(name)}`;
    const isKnown = [...coordinatorReads, ...coordinatorWrites, ...agentStatements].includes(point);
    if (event === "statement" && !isKnown && !others.has(String(name)) && !/^engine: /.test(String(name))) {
      unknown.add(String(name));
    }
  }
}

afterEach(async () => {
  await endProcesses();
  await endAll();
});

describeQemu("kill -9", ["10.0", "11.1"], (qemu) => {
  const releases = { old: qemu["10.0"], new: qemu["11.1"] };

  /** Every VM of the rollout was updated once, and its host's journals say the same. */
  async function expectUpdated(database: FleetDatabase, state: string, rollout: string, vms: readonly Updatable[]) {
    const rows = await readVmDetails(database.owner, rollout);
    expect(rows.map((row) => row.state)).toEqual(vms.map(() => "updated"));
    for (const vm of vms) await expectRuns(vm, releases.new);
    const said = "select count(*)::int as n from cprkit_fleet.audit where rollout = $1 and what = 'vm-updated'";
    expect((await database.owner.query(said, [rollout])).rows).toEqual([{ n: vms.length }]);
    for (const name of readdirSync(join(state, "updates"))) {
      const journal = JSON.parse(readFileSync(join(state, "updates", name, "journal.json"), "utf8"));
      expect(journal.outcome).toBe("updated");
    }
  }

  describeFleet("of a process of the fleet", (database) => {
    const ops = () => ["--database", database().postgres.url("ops")];
    const coordinate = (env?: NodeJS.ProcessEnv) => startFleet(["coordinator", ...ops()], env);
    const restartPostgres = async () => {
      await database().postgres.kill();
      await away();
      await database().postgres.start();
    };

    /** A rollout of two VMs in two waves on one host, planned and begun. */
    async function begin(id: string) {
      const host = makeHost(database(), "a", releases);
      const vms = [await host.vm(`${id}-x`, releases.old), await host.vm(`${id}-y`, releases.old)];
      const agent = host.agent();
      await serves(agent);
      const plan = await fleet("plan", ...ops(), "--release", "new", "--id", id, "--host", "a");
      expect(plan.json, plan.text).toMatchObject({ waves: [1, 1], silent: [] });
      await fleet("start", ...ops(), id);
      return { host, vms, agent };
    }
    const isOver = (id: string, timeout = 120_000) =>
      expect
        .poll(
          async () => {
            const { state, reason } = await readRollout(database().owner, id);
            // On a busy machine an agent may take longer to come back than a host counts as alive: an operator's turn.
            if (state === "halted" && reason?.includes("does not answer") === true)
              await resume(database().as("ops"), id);
            return state;
          },
          { timeout, interval: 1_000 },
        )
        .toBe("finished");
    /** The engine has heard it, too: the rollout's job does not stay for ever. */
    const isHeard = (id: string) =>
      expect
        .poll(
          async () => {
            const query = "select status from dbos.workflow_status where workflow_uuid = $1";
            return (await database().owner.query(query, [`rollout/${id}`])).rows[0]?.status;
          },
          { timeout: 60_000 },
        )
        .toBe("SUCCESS");

    it("of the coordinator, at each of its statements", async () => {
      const { host, vms } = await begin("m-coordinator");
      for (const point of [...shuffled(coordinatorReads), ...coordinatorWrites]) {
        const dies = coordinate(faultsAt("kill", [point]));
        await dies.exited;
        expect(dies.child.signalCode, `${point}: ${dies.text()}`).toBe("SIGKILL");
        look(dies);
        note(`coordinator: ${point}`, "coordinator");
        await away();
      }
      coordinate();
      await isOver("m-coordinator");
      await isHeard("m-coordinator");
      await expectUpdated(database(), host.state, "m-coordinator", vms);
    }, 300_000);

    it("of PostgreSQL, at each of the coordinator's statements", async () => {
      const { host, vms } = await begin("m-database");
      for (const point of [...shuffled(coordinatorReads), ...coordinatorWrites]) {
        const holds = coordinate(faultsAt("hold", [point]));
        await holds.until(`that it holds ${point}`, ({ event }) => event === "holds");
        await restartPostgres();
        holds.go();
        // It has lost its lock, and ends by itself.
        expect(await holds.exited, `${point}: ${holds.text()}`).toBe(4);
        look(holds);
        note(`coordinator: ${point}`, "PostgreSQL");
      }
      coordinate();
      await isOver("m-database");
      await isHeard("m-database");
      await expectUpdated(database(), host.state, "m-database", vms);
    }, 300_000);

    it("of the agent, at each of the coordinator's statements", async () => {
      let { host, vms, agent } = await begin("m-agent");
      const list = [...coordinatorReads, ...coordinatorWrites];
      const coordinator = coordinate(faultsAt("hold", list));
      for (const _ of list) {
        const before = list.filter((point) => killed.get(`coordinator: ${point}`)?.has("agent"));
        const { point } = await coordinator.until(
          "that it holds",
          ({ event, point: at }) => event === "holds" && !before.includes(String(at)),
        );
        await agent.end("SIGKILL");
        await away();
        agent = host.agent();
        note(`coordinator: ${String(point)}`, "agent");
        coordinator.go();
      }
      await isOver("m-agent");
      await isHeard("m-agent");
      await expectUpdated(database(), host.state, "m-agent", vms);
    }, 300_000);

    for (const point of shuffled(agentStatements)) {
      for (const victim of victims) {
        it(`of the ${victim}, where the agent is ${point}`, async () => {
          const host = makeHost(database(), "b", releases);
          const id = `m-${point.replace(" ", "-")}-${victim.toLowerCase()}`;
          const vm = await host.vm(id, releases.old);
          const pool = database().as("ops");
          await makeRollout(pool, id, [`b/${id}`]);
          await enqueueVms(pool, id, [{ host: "b", vm: id }]);
          let coordinator = coordinate();
          await serves(coordinator);
          await startJob(id, "b");
          const agent = host.agent(faultsAt(victim === "agent" ? "kill" : "hold", [point]));
          if (victim === "agent") {
            await agent.exited;
            expect(agent.child.signalCode, agent.text()).toBe("SIGKILL");
            await away();
            host.agent();
          } else {
            await agent.until(`that it holds ${point}`, ({ event }) => event === "holds");
            if (victim === "coordinator") {
              await coordinator.end("SIGKILL");
              await away();
            } else await restartPostgres();
            agent.go();
          }
          look(agent);
          note(`agent: ${point}`, victim);
          if (victim !== "agent") {
            await coordinator.end("SIGKILL");
            coordinator = coordinate();
          }
          await isOver(id);
          await expectUpdated(database(), host.state, id, [vm]);
        }, 180_000);
      }
    }

    /** The rollout's own job, as `start` queues it, while its host counts as alive: its agent is about to be started. */
    async function startJob(id: string, host: string): Promise<void> {
      await heartbeat(database().as(`host-${host}`), { epoch: 0, seen: undefined }, {});
      await enqueue(database().as("ops"), coordinatorQueue, jobs.rollout, `rollout/${id}`, [id]);
    }

    for (const victim of ["coordinator", "PostgreSQL"] as const) {
      it(`of the ${victim}, at each step of one update`, async () => {
        const host = makeHost(database(), "c", releases);
        const id = `m-steps-${victim.toLowerCase()}`;
        const vm = await host.vm(id, releases.old);
        const pool = database().as("ops");
        await makeRollout(pool, id, [`c/${id}`]);
        await enqueueVms(pool, id, [{ host: "c", vm: id }]);
        await startJob(id, "c");
        let coordinator = coordinate();
        await serves(coordinator);
        const agent = host.child("hold", "all");
        for (const point of steps) {
          const step = point.replace("step ", "");
          await agent.until(
            `that it holds at ${step}`,
            (event) => event["event"] === "holds" && event["step"] === step,
          );
          await coordinator.end("SIGKILL");
          if (victim === "PostgreSQL") await restartPostgres();
          note(`agent: ${point}`, victim);
          coordinator = coordinate();
          agent.go();
        }
        await isOver(id);
        await expectUpdated(database(), host.state, id, [vm]);
      }, 300_000);
    }

    for (const point of steps) {
      it(`of the agent, at its ${point}`, async () => {
        const host = makeHost(database(), "a", releases);
        const id = `m-${point.replace(" ", "-")}`;
        const vm = await host.vm(id, releases.old);
        const pool = database().as("ops");
        await makeRollout(pool, id, [`a/${id}`]);
        await enqueueVms(pool, id, [{ host: "a", vm: id }]);
        await startJob(id, "a");
        const dies = host.child("kill", point.replace("step ", ""));
        await dies.exited;
        expect(dies.child.signalCode, dies.text()).toBe("SIGKILL");
        note(`agent: ${point}`, "agent");
        await away();
        host.agent();
        coordinate();
        await isOver(id);
        await expectUpdated(database(), host.state, id, [vm]);
      }, 180_000);
    }

    it("a database that hangs before the switch: taken back within the time; told when it answers again", async () => {
      const host = makeHost(database(), "c", releases);
      const vm = await host.vm("m-hangs", releases.old);
      const pool = database().as("ops");
      await makeRollout(pool, "m-hangs", ["c/m-hangs"]);
      await enqueueVms(pool, "m-hangs", [{ host: "c", vm: "m-hangs" }]);
      const agent = host.child("hold", "destination-ready");
      await agent.until("that it holds", ({ event }) => event === "holds");
      database().postgres.hang();
      agent.go();
      try {
        const ended = await agent.until("the end", ({ event }) => event === "ended");
        expect(ended).toMatchObject({ result: { state: "planned", why: expect.stringMatching(/did not answer/) } });
        expect([...(await runStates(vm)).keys()]).toEqual([vm.pid]);
      } finally {
        database().postgres.goOn();
      }
      const state = async () => (await readVmDetails(pool, "m-hangs"))[0]?.state;
      await expect.poll(state, { timeout: 60_000 }).toBe("planned");
      await enqueueVms(pool, "m-hangs", [{ host: "c", vm: "m-hangs" }]);
      await expect.poll(state, { timeout: 60_000 }).toBe("updated");
      await expectRuns(vm, releases.new);
    }, 180_000);

    it("every point of the table was reached, with each of the three", () => {
      expect([...unknown]).toEqual([]);
      const missed = points.flatMap((point) =>
        victims.filter((victim) => killed.get(point)?.has(victim) !== true).map((victim) => `${victim} at ${point}`),
      );
      expect(missed).toEqual([]);
    });

    afterAll(() => {
      const table = points.map((point) => {
        const row = victims.map((victim) => (killed.get(point)?.has(victim) === true ? victim : "-").padEnd(12));
        return `${row.join("")} ${point}`;
      });
      console.log(`seed ${seed}; killed with kill -9, where:\n${table.join("\n")}`);
    });
  });
});
