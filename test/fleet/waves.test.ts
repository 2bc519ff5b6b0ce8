// The waves, as a pure function: whatever the order in which VMs end, the limits hold, and every VM has its turn.

import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { VmRow } from "../../fleet/src/ledger/operator.ts";
import { assignWaves } from "../../fleet/src/waves/assign.ts";
import { type Decision, deadAfterMs, decide, type Scene } from "../../fleet/src/waves/next.ts";
import { isWorkingTime, type Policy, policySchema } from "../../fleet/src/waves/policy.ts";

const noon = new Date("2026-11-30T12:00:00Z");
const vmsOf = (hosts: number, each: number) =>
  Array.from({ length: hosts * each }, (_, at) => ({ host: `h${at % hosts}`, vm: `v${Math.floor(at / hosts)}` }));

describe("assignWaves", () => {
  it("a canary, shares of all, and what is left", () => {
    const waves = assignWaves(vmsOf(3, 4), { waves: [1, "25%", "50%"] });
    expect(waves.map((wave) => wave.map(({ host, vm }) => `${host}/${vm}`))).toEqual([
      ["h0/v0"],
      ["h1/v0", "h2/v0"],
      ["h0/v1", "h1/v1", "h2/v1"],
      ["h0/v2", "h1/v2", "h2/v2", "h0/v3", "h1/v3", "h2/v3"],
    ]);
  });

  it("every VM is in one wave, whatever the shares", () => {
    const share = fc.oneof(
      fc.integer({ min: 1, max: 9 }),
      fc.integer({ min: 0, max: 100 }).map((n) => `${n}%`),
    );
    fc.assert(
      fc.property(
        fc.integer({ min: 0, max: 8 }),
        fc.integer({ min: 1, max: 6 }),
        fc.array(share),
        (hosts, each, waves) => {
          const vms = hosts === 0 ? [] : vmsOf(hosts, each);
          const found = assignWaves(vms, { waves });
          expect(found.every((wave) => wave.length > 0)).toBe(true);
          expect(found.flat().length).toBe(vms.length);
          expect(new Set(found.flat()).size).toBe(vms.length);
        },
      ),
    );
  });
});

/** A fleet on paper: what `decide` says is done, and VMs end as the numbers say. */
function play(
  policy: Policy,
  hosts: number,
  each: number,
  fate: (vm: VmRow) => VmRow["state"],
  choose: (count: number) => number,
  look: (scene: Scene, decision: Decision) => void,
) {
  const waves = assignWaves(vmsOf(hosts, each), policy);
  const vms: (VmRow & { state: VmRow["state"]; attempt: number; taken_back: number; ended_at: Date | null })[] =
    waves.flatMap((wave, at) =>
      wave.map((vm) => ({
        ...{ ...vm, wave: at + 1, state: "planned" as const },
        ...{ attempt: 0, taken_back: 0, is_measured: false, downtime_ms: null, ended_at: null, accepted: false },
      })),
    );
  const racks = new Map(Array.from({ length: hosts }, (_, at) => [`h${at}`, `r${at % 2}`]));
  let now = noon;
  let [state, gate, reason]: [Scene["rollout"]["state"], number, string] = ["running", 0, ""];
  for (let turn = 0; turn < 10_000; turn++) {
    now = new Date(now.getTime() + 1000);
    const alive = { last_seen: now, in_order: true };
    const scene: Scene = {
      rollout: { policy, state, gate },
      vms,
      hosts: new Map([...racks].map(([host, rack]) => [host, { ...alive, rack }])),
      now,
    };
    const decision = decide(scene);
    look(scene, decision);
    for (const { host, vm } of decision.enqueue) {
      const row = vms.find((each) => each.host === host && each.vm === vm);
      if (row !== undefined) Object.assign(row, { state: "queued", attempt: row.attempt + 1 });
    }
    for (const { host, vm } of decision.giveUp) {
      const row = vms.find((each) => each.host === host && each.vm === vm);
      if (row !== undefined) Object.assign(row, { state: "failed", ended_at: now });
    }
    if (decision.become !== undefined) ({ state, reason } = decision.become);
    if (state === "paused")
      [state, gate] = ["running", Math.min(...vms.filter((vm) => vm.state === "planned").map((vm) => vm.wave ?? 0))];
    if (state !== "running") return { state, reason, vms };
    const queued = vms.filter((vm) => vm.state === "queued");
    const row = queued[choose(queued.length)];
    if (row === undefined) continue;
    Object.assign(row, { state: fate(row), ended_at: now });
    if (row.state === "planned") row.taken_back++;
  }
  throw new Error("it never ends");
}

describe("decide", () => {
  it("limits hold at every moment, waves come one after the other, and all have their turn", () => {
    const policies = fc.record({
      waves: fc.array(fc.oneof(fc.integer({ min: 1, max: 4 }), fc.constantFrom("10%", "50%")), { maxLength: 3 }),
      perHost: fc.integer({ min: 1, max: 3 }),
      perRack: fc.integer({ min: 1, max: 4 }),
      gates: fc.array(fc.integer({ min: 1, max: 4 }), { maxLength: 2 }),
      soakSeconds: fc.integer({ min: 0, max: 5 }),
      budget: fc.integer({ min: 0, max: 3 }),
    });
    fc.assert(
      fc.property(
        policies,
        fc.integer({ min: 1, max: 6 }),
        fc.integer({ min: 1, max: 4 }),
        fc.nat(),
        (found, hosts, each, seed) => {
          let random = seed;
          const next = (count: number) => {
            random = (random * 1_103_515_245 + 12_345) % 2 ** 31;
            return count === 0 ? 0 : random % count;
          };
          const policy = policySchema.parse(found);
          const fates = ["updated", "updated", "updated", "planned", "failed"] as const;
          const end = play(
            policy,
            hosts,
            each,
            () => fates[next(5)] ?? "updated",
            next,
            (scene, { enqueue, giveUp }) => {
              const busy = scene.vms.filter((vm) => vm.state === "queued");
              const now = [...busy, ...enqueue].map(({ host }) => host);
              const rackOf = (host: string) => scene.hosts.get(host)?.rack;
              for (const host of enqueue.map((vm) => vm.host)) {
                expect(now.filter((one) => one === host).length).toBeLessThanOrEqual(policy.perHost);
                const rack = now.filter((one) => rackOf(one) === rackOf(host)).length;
                expect(rack).toBeLessThanOrEqual(policy.perRack ?? 0);
              }
              const gone = (vm: VmRow) => giveUp.some((one) => one.host === vm.host && one.vm === vm.vm);
              const open = scene.vms
                .filter((vm) => ["planned", "queued"].includes(vm.state) && !gone(vm))
                .map((vm) => vm.wave ?? 0);
              const waveOf = (one: { host: string; vm: string }) =>
                scene.vms.find((vm) => vm.host === one.host && vm.vm === one.vm)?.wave;
              for (const one of enqueue) expect(waveOf(one)).toBe(Math.min(...open));
            },
          );
          const failed = end.vms.filter(({ state }) => state === "failed").length;
          if (end.state === "halted") expect(failed).toBeGreaterThan(policy.budget as number);
          else {
            expect(end.state).toBe("finished");
            expect(failed).toBeLessThanOrEqual(policy.budget as number);
            expect(end.vms.filter(({ state }) => state !== "updated" && state !== "failed")).toEqual([]);
          }
        },
      ),
      { numRuns: 200 },
    );
  });

  const row = (host: string, state: VmRow["state"], more: Partial<VmRow> = {}): VmRow => ({
    ...{ host, vm: `${host}-vm`, wave: 1, state, attempt: 1, downtime_ms: 5, ended_at: noon },
    ...{ taken_back: 0, is_measured: true, accepted: false },
    ...more,
  });
  const scene = (policy: unknown, vms: readonly VmRow[], more: Partial<Scene> = {}): Scene => ({
    rollout: { policy: policySchema.parse(policy), state: "running", gate: 0 },
    vms,
    hosts: new Map(vms.map(({ host }) => [host, { rack: "", last_seen: noon, in_order: true }])),
    now: noon,
    ...more,
  });
  const silent = (ms: number) =>
    new Map(
      ["a", "b"].map((host) => [
        host,
        { rack: "", in_order: true, last_seen: new Date(noon.getTime() - (host === "a" ? ms : 0)) },
      ]),
    );

  it("a lost guest halts, whatever the budget", () => {
    expect(decide(scene({ budget: 99 }, [row("a", "lost"), row("b", "planned")])).become?.state).toBe("halted");
  });

  it("a guest that was paused for too long counts as failed", () => {
    const vms = [row("a", "updated", { downtime_ms: 501 }), row("b", "planned", { attempt: 0 })];
    expect(decide(scene({ maxPauseMs: 500 }, vms)).become?.reason).toMatch(
      /1 failed or were paused for too long, 0 may: a\/a-vm stood still for 501 ms$/,
    );
    expect(decide(scene({ maxPauseMs: 501 }, vms)).enqueue).toEqual([{ host: "b", vm: "b-vm" }]);
  });

  it("a pause that nobody measured, for the agent died in it, is not within the limit; without a limit it is no matter", () => {
    const unmeasured = { downtime_ms: null, is_measured: false };
    const vms = [row("a", "updated", unmeasured), row("b", "planned", { attempt: 0 })];
    expect(decide(scene({ maxPauseMs: 500 }, vms)).become?.reason).toMatch(
      /a\/a-vm stood still for nobody knows how long$/,
    );
    expect(decide(scene({}, vms)).enqueue).toEqual([{ host: "b", vm: "b-vm" }]);
    // A guest that was paused already stood still for no time at all.
    const still = [row("a", "updated", { downtime_ms: null }), row("b", "planned", { attempt: 0 })];
    expect(decide(scene({ maxPauseMs: 500 }, still)).enqueue).toEqual([{ host: "b", vm: "b-vm" }]);
  });

  it("three times given back is a failure; three times queued and never taken in hand, as in pauses, is none", () => {
    const often = { attempt: 3, ended_at: null };
    expect(decide(scene({ budget: 1 }, [row("a", "planned", often)])).enqueue).toEqual([{ host: "a", vm: "a-vm" }]);
    const given = decide(scene({ budget: 1 }, [row("a", "planned", { ...often, taken_back: 3 })]));
    expect(given).toMatchObject({ enqueue: [], giveUp: [{ host: "a", vm: "a-vm" }] });
    expect(decide(scene({}, [row("a", "planned", { ...often, taken_back: 3 })])).become?.state).toBe("halted");
  });

  it("what was accepted when somebody let it go on counts no more, a lost guest either", () => {
    for (const state of ["failed", "lost"] as const) {
      const vms = [row("a", state, { accepted: true }), row("b", "planned", { attempt: 0 })];
      expect(decide(scene({}, vms)).enqueue).toEqual([{ host: "b", vm: "b-vm" }]);
      expect(decide(scene({}, [...vms, row("c", state)])).become?.state).toBe("halted");
    }
  });

  it("a dead host halts it, or is left out", () => {
    const vms = [row("a", "queued", { ended_at: null }), row("b", "planned", { attempt: 0 })];
    const hosts = silent(deadAfterMs + 1);
    expect(decide(scene({}, vms, { hosts })).become).toMatchObject({
      state: "halted",
      reason: expect.stringMatching(/host a/),
    });
    expect(decide(scene({ onDeadHost: "go-on" }, vms, { hosts })).enqueue).toEqual([{ host: "b", vm: "b-vm" }]);
    expect(decide(scene({}, vms, { hosts: silent(deadAfterMs - 1) })).become).toBeUndefined();
    const rest = [row("a", "switching", { ended_at: null }), row("b", "updated")];
    expect(decide(scene({ onDeadHost: "go-on" }, rest, { hosts })).become).toMatchObject({
      state: "finished",
      reason: expect.stringMatching(/: a$/),
    });
  });

  it("a host whose memory is ahead of the ledger counts as dead", () => {
    const vms = [row("a", "planned", { attempt: 0 })];
    const hosts = new Map([["a", { rack: "", last_seen: noon, in_order: false }]]);
    expect(decide(scene({}, vms, { hosts })).become?.reason).toMatch(/out of order/);
  });

  it("nothing begins outside of the hours, before the soak's end, or while it is paused", () => {
    const vms = [row("a", "updated"), row("b", "planned", { wave: 2, attempt: 0, ended_at: null })];
    expect(decide(scene({ hours: { from: "22:00", to: "06:00" } }, vms))).toMatchObject({
      enqueue: [],
      waits: expect.stringMatching(/hours/),
    });
    expect(decide(scene({ soakSeconds: 60 }, vms))).toMatchObject({
      enqueue: [],
      waits: expect.stringMatching(/wave 2 begins 2026-11-30T12:01/),
    });
    expect(decide(scene({ gates: [2] }, vms)).become?.state).toBe("paused");
    const paused = scene({}, vms);
    expect(decide({ ...paused, rollout: { ...paused.rollout, state: "paused" } })).toEqual({ enqueue: [], giveUp: [] });
  });
});

describe("working hours", () => {
  const at = (policy: unknown, time: string) => isWorkingTime(policySchema.parse(policy), new Date(time));

  it("over midnight they belong to the day on which they began", () => {
    // 2026-11-30 is a Monday.
    const hours = { from: "22:00", to: "06:00", days: [1] };
    expect(at({ hours }, "2026-11-30T21:59:00Z")).toBe(false);
    expect(at({ hours }, "2026-11-30T22:00:00Z")).toBe(true);
    expect(at({ hours }, "2026-12-01T05:59:00Z")).toBe(true);
    expect(at({ hours }, "2026-12-01T06:00:00Z")).toBe(false);
    expect(at({ hours }, "2026-12-01T23:00:00Z")).toBe(false);
  });

  it("by the clock of a zone", () => {
    const hours = { from: "08:00", to: "16:00", zone: "Europe/Berlin" };
    expect(at({ hours }, "2026-11-30T07:00:00Z")).toBe(true);
    expect(at({ hours }, "2026-11-30T15:00:00Z")).toBe(false);
    expect(policySchema.safeParse({ hours: { ...hours, zone: "Mars/Base" } }).success).toBe(false);
    // From 8 to 8 would be never.
    expect(policySchema.safeParse({ hours: { from: "08:00", to: "08:00" } }).success).toBe(false);
  });
});
