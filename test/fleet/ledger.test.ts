// The ledger: one attempt a VM, only its host says what became of it, and nobody rewrites what was.

import { expect, it } from "vitest";
import { enqueueVms, queueAnew } from "../../fleet/src/engine.ts";
import { claim, fence, finish, heartbeat, type Memory, offer, readInHand } from "../../fleet/src/ledger/host.ts";
import {
  adopt,
  createRollout,
  readHosts,
  readRollout,
  readVmDetails,
  readVmRows,
  setState,
} from "../../fleet/src/ledger/operator.ts";
import { setUp } from "../../fleet/src/ledger/setup.ts";
import { resume } from "../../fleet/src/operator/steer.ts";
import { decide } from "../../fleet/src/waves/next.ts";
import { policySchema } from "../../fleet/src/waves/policy.ts";
import { describeFleet, makeRollout } from "./fleet-support.ts";

const fresh: Memory = { epoch: 0, seen: undefined };
const refused = { code: "42501" };

describeFleet("the ledger", (fleet) => {
  it("is made once; again changes nothing", async () => {
    expect(await setUp(fleet().configOf("fleet_owner"), fleet().owner)).toEqual([]);
  });

  it("a host takes its own VM in hand, asks before the switch, and says what became of it", async () => {
    const [ops, a] = [fleet().as("ops"), fleet().as("host-a")];
    await makeRollout(ops, "r-plain", ["a/one", "b/one"]);
    expect(await claim(a, { rollout: "r-plain", vm: "one" }, fresh)).toMatchObject({
      why: expect.stringMatching(/not asked/),
    });
    expect(await enqueueVms(ops, "r-plain", [{ host: "a", vm: "one" }])).toBe(1);
    const attempt = await claim(a, { rollout: "r-plain", vm: "one" }, fresh);
    if ("why" in attempt) throw new Error(attempt.why);
    expect(attempt).toMatchObject({ release: "new", epoch: 1 });
    expect(await fence(a, { ...attempt, epoch: 0 })).toMatch(/another attempt/);
    expect(await fence(a, attempt)).toBeUndefined();
    const after = { release: "new", version: "11.1.0", program: "/new", pid: 2 };
    expect(await finish(a, attempt, { state: "updated", after, downtimeMs: 12.5 })).toBe(true);
    // Once more, as an agent that did not hear the answer: the ledger has it, and does not take it twice.
    expect(await finish(a, attempt, { state: "failed", code: "late" })).toBe(false);
    const [one, other] = await readVmDetails(ops, "r-plain");
    expect(one).toMatchObject({ host: "a", state: "updated", downtime_ms: 12.5, after: { version: "11.1.0" } });
    expect(other).toMatchObject({ host: "b", state: "planned" });
  });

  it("several VMs of a host that are claimed at once have an epoch each, and each passes its own fence", async () => {
    const [ops, c, other] = [fleet().as("ops"), fleet().as("host-c"), fleet().as("host-c")];
    const names = ["p", "q", "r", "s"];
    await makeRollout(
      ops,
      "r-many",
      names.map((vm) => `c/${vm}`),
    );
    const trace = "00-0123456789abcdef0123456789abcdef-0123456789abcdef-01";
    const vms = names.map((vm) => ({ host: "c", vm, trace }));
    expect(await enqueueVms(ops, "r-many", vms)).toBe(4);
    const attempts = await Promise.all(
      names.map((vm, at) => claim(at % 2 === 0 ? c : other, { rollout: "r-many", vm }, fresh)),
    );
    const epochs = attempts.map((attempt) => ("why" in attempt ? attempt.why : attempt.epoch));
    expect(new Set(epochs).size).toBe(4);
    for (const attempt of attempts) {
      if ("why" in attempt) throw new Error(attempt.why);
      expect(attempt.trace).toBe(trace);
      expect(await fence(c, attempt)).toBeUndefined();
      expect(await finish(c, attempt, { state: "failed", code: "ERR_UPDATE_FAILED" })).toBe(true);
    }
    const wrong = "update cprkit_fleet.rollout_vm set trace = $1 where rollout = 'r-many'";
    await expect(ops.query(wrong, ["'; drop table x"])).rejects.toMatchObject({ code: "23514" });
  });

  it("a VM whose job ended without taking it in hand, as in a pause, is asked for anew", async () => {
    const [ops, b] = [fleet().as("ops"), fleet().as("host-b")];
    await makeRollout(ops, "r-pause", ["b/nine"]);
    const vm = [{ host: "b", vm: "nine" }];
    await enqueueVms(ops, "r-pause", vm);
    expect(await queueAnew(ops, "r-pause")).toBe(0);
    await setState(ops, "r-pause", "paused", { from: ["running"] });
    expect(await claim(b, { rollout: "r-pause", vm: "nine" }, fresh)).toEqual({ why: "the rollout is paused" });
    // As the engine writes down that the job is over.
    await ops.query("update dbos.workflow_status set status = 'SUCCESS' where workflow_uuid = 'r-pause/b/nine/1'");
    await setState(ops, "r-pause", "running", { from: ["paused"] });
    expect(await queueAnew(ops, "r-pause")).toBe(1);
    expect(await enqueueVms(ops, "r-pause", vm)).toBe(1);
    expect(await claim(b, { rollout: "r-pause", vm: "nine" }, fresh)).toMatchObject({ release: "new" });
    expect(await queueAnew(ops, "r-pause")).toBe(0);
  });

  it("a rollout that has halted goes on when somebody says so, and does not halt again for the same failure", async () => {
    const [ops, b] = [fleet().as("ops"), fleet().as("host-b")];
    await makeRollout(ops, "r-halt", ["b/ten", "b/eleven"]);
    await enqueueVms(ops, "r-halt", [{ host: "b", vm: "ten" }]);
    const attempt = await claim(b, { rollout: "r-halt", vm: "ten" }, fresh);
    if ("why" in attempt) throw new Error(attempt.why);
    await finish(b, attempt, { state: "failed", code: "ERR_UPDATE_FAILED", why: "no" });
    await heartbeat(b, fresh, {});
    const look = async () => {
      const [rollout, vms, { hosts, now }] = [
        await readRollout(ops, "r-halt"),
        await readVmRows(ops, "r-halt"),
        await readHosts(ops),
      ];
      return decide({ rollout, vms, now, hosts: new Map(hosts.map((host) => [host.name, host])) });
    };
    expect((await look()).become).toMatchObject({ state: "halted", reason: expect.stringMatching(/: b\/ten$/) });
    await setState(ops, "r-halt", "halted", { from: ["running"] });
    await resume(ops, "r-halt");
    expect(await look()).toMatchObject({ enqueue: [{ host: "b", vm: "eleven" }] });
  });

  it("two rollouts never have one VM in hand", async () => {
    const [ops, b] = [fleet().as("ops"), fleet().as("host-b")];
    await makeRollout(ops, "r-first", ["b/two"]);
    await makeRollout(ops, "r-second", ["b/two"]);
    const vm = [{ host: "b", vm: "two" }];
    expect(await enqueueVms(ops, "r-first", vm)).toBe(1);
    expect(await enqueueVms(ops, "r-second", vm)).toBe(0);
    const force = "update cprkit_fleet.rollout_vm set state = 'queued' where rollout = 'r-second'";
    await expect(ops.query(force)).rejects.toMatchObject({ constraint: "one_attempt" });
    const attempt = await claim(b, { rollout: "r-first", vm: "two" }, fresh);
    if ("why" in attempt) throw new Error(attempt.why);
    await finish(b, attempt, { state: "failed", code: "ERR_UPDATE_FAILED", why: "no" });
    expect(await enqueueVms(ops, "r-second", vm)).toBe(1);
  });

  it("an abort between the claim and the switch is seen at the fence; what was taken back is skipped", async () => {
    const [ops, c] = [fleet().as("ops"), fleet().as("host-c")];
    await makeRollout(ops, "r-abort", ["c/three"]);
    await enqueueVms(ops, "r-abort", [{ host: "c", vm: "three" }]);
    const attempt = await claim(c, { rollout: "r-abort", vm: "three" }, fresh);
    if ("why" in attempt) throw new Error(attempt.why);
    await setState(ops, "r-abort", "aborted", { from: ["running"] });
    expect(await fence(c, attempt)).toBe("the rollout is aborted");
    await finish(c, attempt, { state: "planned" });
    expect(await readVmDetails(ops, "r-abort")).toMatchObject([{ state: "skipped", code: "aborted" }]);
    await expect(setState(ops, "r-abort", "running", { from: ["aborted"] })).rejects.toThrow(/stays so/);
  });

  it("a host sees its own rows, changes none by itself, and plans nothing", async () => {
    const [ops, a, b] = [fleet().as("ops"), fleet().as("host-a"), fleet().as("host-b")];
    await makeRollout(ops, "r-rows", ["a/four", "b/four"]);
    await enqueueVms(ops, "r-rows", [{ host: "b", vm: "four" }]);
    const { rows } = await a.query("select distinct host from cprkit_fleet.rollout_vm");
    expect(rows).toEqual([{ host: "a" }]);
    expect((await a.query("select name from cprkit_fleet.host")).rows).toEqual([{ name: "a" }]);
    expect(await claim(a, { rollout: "r-rows", vm: "four" }, fresh)).toMatchObject({
      why: expect.stringMatching(/not asked/),
    });
    for (const statement of [
      "update cprkit_fleet.rollout_vm set state = 'updated'",
      "update cprkit_fleet.host set epoch = 99",
      "insert into cprkit_fleet.rollout (id, kind, release, policy) values ('mine', 'update', 'x', '{}')",
      "insert into cprkit_fleet.rollout_vm (rollout, host, vm, release) values ('r-rows', 'a', 'x', 'new')",
      "select * from cprkit_fleet.audit",
      "insert into cprkit_fleet.audit (who, what) values ('ops', 'forged')",
      "update cprkit_fleet.audit set who = 'x'",
      "delete from cprkit_fleet.audit",
      "truncate cprkit_fleet.audit",
      "alter table cprkit_fleet.audit disable trigger append_only",
      "select cprkit_fleet.note('forged', null, null, null, null)",
      "create table cprkit_fleet.mine ()",
    ]) {
      await expect(a.query(statement), statement).rejects.toMatchObject(refused);
    }
    await expect(offer(a, "r-rows", { vm: "x", release: "new", before: undefined, state: "planned" })).rejects.toThrow(
      /not being planned/,
    );
    await expect(heartbeat(fleet().as("ops"), fresh, {})).rejects.toMatchObject(refused);
    expect(await claim(b, { rollout: "r-rows", vm: "four" }, fresh)).toMatchObject({ release: "new" });
  });

  it("a host can't ask or answer for another one's VM, whatever it names", async () => {
    const [ops, a, b] = [fleet().as("ops"), fleet().as("host-a"), fleet().as("host-b")];
    await makeRollout(ops, "r-other", ["b/own"]);
    await enqueueVms(ops, "r-other", [{ host: "b", vm: "own" }]);
    const attempt = await claim(b, { rollout: "r-other", vm: "own" }, fresh);
    if ("why" in attempt) throw new Error(attempt.why);
    expect(await fence(a, attempt)).toMatch(/another attempt/);
    expect(await finish(a, attempt, { state: "lost", code: "forged" })).toBe(false);
    expect(await readInHand(a)).toEqual([]);
    expect(await readInHand(b)).toContainEqual({ rollout: "r-other", vm: "own", epoch: attempt.epoch, release: "new" });
    expect((await a.query("select id from cprkit_fleet.rollout where id = 'r-other'")).rows).toEqual([]);
    expect(await readVmDetails(ops, "r-other")).toMatchObject([{ state: "claimed" }]);
    expect(await finish(b, attempt, { state: "failed", code: "ERR_UPDATE_FAILED" })).toBe(true);
  });

  it("every function names its schemas itself, and none is for anybody; every table has row-level security", async () => {
    await fleet().owner.query("create role nobody");
    const { rows } = await fleet().owner.query<{ name: string; path: string | null; anybody: boolean }>(
      `select p.proname as name, array_to_string(p.proconfig, ';') as path,
          has_function_privilege('nobody', p.oid, 'execute') as anybody
        from pg_proc p join pg_namespace n on n.oid = p.pronamespace where n.nspname = 'cprkit_fleet' order by 1`,
    );
    expect(rows.length).toBeGreaterThan(10);
    for (const { name, path, anybody } of rows) {
      expect([name, anybody]).toEqual([name, false]);
      expect([name, path]).toEqual([name, expect.stringMatching(/^search_path=cprkit_fleet,.*pg_temp$/)]);
    }
    const tables = await fleet().owner.query(
      `select relname from pg_class c join pg_namespace n on n.oid = c.relnamespace
        where n.nspname = 'cprkit_fleet' and relkind = 'r' and not relrowsecurity`,
    );
    // Names of files alone; hosts can't read it.
    expect(tables.rows).toEqual([{ relname: "migration" }]);
  });

  it("what became of a VM stands, for the operator and for its host; a rollout keeps its policy", async () => {
    const [ops, b] = [fleet().as("ops"), fleet().as("host-b")];
    await makeRollout(ops, "r-stands", ["b/ends"]);
    await enqueueVms(ops, "r-stands", [{ host: "b", vm: "ends" }]);
    const attempt = await claim(b, { rollout: "r-stands", vm: "ends" }, fresh);
    if ("why" in attempt) throw new Error(attempt.why);
    await finish(b, attempt, { state: "updated", downtimeMs: 900 });
    const its = "where rollout = 'r-stands'";
    for (const set of [
      "state = 'planned'",
      "downtime_ms = 1",
      "after = '{}'",
      "epoch = 0",
      "report = '{}'",
      "vm = 'x'",
    ]) {
      await expect(ops.query(`update cprkit_fleet.rollout_vm set ${set} ${its}`), set).rejects.toMatchObject(refused);
    }
    await expect(ops.query("update cprkit_fleet.rollout set policy = '{}'")).rejects.toMatchObject(refused);
    await expect(fleet().owner.query("update cprkit_fleet.rollout set policy = '{}'")).rejects.toThrow(
      /can not be changed/,
    );
    expect(await readVmDetails(ops, "r-stands")).toMatchObject([{ state: "updated", downtime_ms: 900 }]);
  });

  it("an id that is taken is refused in plain words", async () => {
    const more = { kind: "update", undoes: null, release: "new", policy: policySchema.parse({}) } as const;
    await createRollout(fleet().as("ops"), { id: "r-twice", ...more });
    await expect(createRollout(fleet().as("ops"), { id: "r-twice", ...more })).rejects.toThrow(
      /there is a rollout r-twice/,
    );
  });

  it("the operator can't say that a VM was updated, nor take it from a host that has it in hand", async () => {
    const [ops, b] = [fleet().as("ops"), fleet().as("host-b")];
    await makeRollout(ops, "r-truth", ["b/five"]);
    await enqueueVms(ops, "r-truth", [{ host: "b", vm: "five" }]);
    const say = (state: string) =>
      ops.query("update cprkit_fleet.rollout_vm set state = $1 where rollout = 'r-truth'", [state]);
    await expect(say("updated")).rejects.toMatchObject(refused);
    await claim(b, { rollout: "r-truth", vm: "five" }, fresh);
    await expect(say("planned")).rejects.toMatchObject(refused);
  });

  it("the audit trail tells who did what, and can't be changed", async () => {
    const { rows } = await fleet().as("ops").query("select who, what, vm from cprkit_fleet.audit order by id");
    expect(rows).toContainEqual({ who: "ops", what: "rollout-running", vm: null });
    expect(rows).toContainEqual({ who: "host-a", what: "vm-updated", vm: "one" });
    for (const statement of ["update cprkit_fleet.audit set who = 'x'", "delete from cprkit_fleet.audit"]) {
      await expect(fleet().as("ops").query(statement)).rejects.toMatchObject(refused);
      await expect(fleet().owner.query(statement)).rejects.toThrow(/append-only/);
    }
    await expect(fleet().owner.query("truncate cprkit_fleet.audit")).rejects.toThrow(/append-only/);
  });

  it("a host that remembers what the ledger does not know gets no work, until it is adopted", async () => {
    const [ops, c] = [fleet().as("ops"), fleet().as("host-c")];
    await makeRollout(ops, "r-restored", ["c/six"]);
    await enqueueVms(ops, "r-restored", [{ host: "c", vm: "six" }]);
    const before = await heartbeat(c, fresh, { agent: "0.1.0" });
    expect(before.isKnown).toBe(true);
    // A later epoch, or a line of the audit trail that is not there, as of an hour that was lost.
    const seen = { id: before.memory.seen?.id ?? "", token: "00000000-0000-4000-8000-000000000000" };
    for (const memory of [
      { ...before.memory, epoch: 1000 },
      { ...before.memory, seen },
    ]) {
      expect(await heartbeat(c, memory, {})).toMatchObject({ isKnown: false, memory });
      expect(await claim(c, { rollout: "r-restored", vm: "six" }, memory)).toMatchObject({
        why: expect.stringMatching(/remembers/),
      });
      await adopt(ops, "c");
      await expect(adopt(ops, "c")).rejects.toThrow(/nothing to adopt/);
      // From then on what it remembers counts, and what it hears next stands in its place.
      const after = await heartbeat(c, memory, {});
      expect(after.isKnown).toBe(true);
      expect(after.memory.seen).not.toEqual(seen);
      expect(await heartbeat(c, after.memory, {})).toMatchObject({ isKnown: true });
      // But only that: another memory of a lost hour is still not known.
      const other = { id: "1", token: "00000000-0000-4000-8000-000000000001" };
      expect(await heartbeat(c, { ...after.memory, seen: other }, {})).toMatchObject({ isKnown: false });
      await heartbeat(c, after.memory, {});
    }
    const { rows } = await ops.query("select epoch from cprkit_fleet.host where name = 'c'");
    expect(Number(rows[0].epoch)).toBeGreaterThan(1000);
  });

  it("a plan holds each host's answers once, and only while it is being made", async () => {
    const [ops, a] = [fleet().as("ops"), fleet().as("host-a")];
    await createRollout(ops, {
      id: "r-plan",
      kind: "update",
      undoes: null,
      release: "new",
      policy: policySchema.parse({}),
    });
    const before = { release: "old", version: "10.0.2", program: "/old", pid: 1 };
    for (let time = 0; time < 2; time++) {
      await offer(a, "r-plan", { vm: "seven", release: "new", before, state: "planned" });
      await offer(a, "r-plan", { vm: "eight", release: "new", before, state: "refused", code: "aux-ram", why: "no" });
    }
    expect(await readVmDetails(ops, "r-plan")).toMatchObject([
      { vm: "eight", state: "refused", code: "aux-ram" },
      { vm: "seven", state: "planned", code: null, before: { release: "old" } },
    ]);
  });
});
