// What a rollout does now: a pure function of its policy, the ledger's rows, and the time.

import type { HostRow, Rollout, RolloutState, VmRow } from "../ledger/operator.ts";
import { budgetOf, isWorkingTime } from "./policy.ts";

/** A host that was not heard of for so long is dead: with a look every second it shows within 30 s. */
export const deadAfterMs = 25_000;
/** A VM that was taken back so often counts as failed. */
const maxTakenBack = 3;

/** All that the decision is made from. */
export interface Scene {
  readonly rollout: Pick<Rollout, "policy" | "state" | "gate">;
  readonly vms: readonly VmRow[];
  readonly hosts: ReadonlyMap<string, Pick<HostRow, "rack" | "last_seen" | "in_order">>;
  /** By the database's clock. */
  readonly now: Date;
}

export interface Decision {
  /** VMs whose turn it is. */
  readonly enqueue: readonly Pick<VmRow, "host" | "vm">[];
  /** VMs that were taken back too often. */
  readonly giveUp: readonly Pick<VmRow, "host" | "vm">[];
  /** A new state of the rollout. */
  readonly become?: { readonly state: RolloutState; readonly reason: string } | undefined;
  /** Why nothing new begins, for people. */
  readonly waits?: string | undefined;
}

const active = new Set<VmRow["state"]>(["queued", "claimed", "switching"]);
const isOpen = ({ state }: VmRow) => state === "planned" || active.has(state);

/** Whether a host can't be counted on. */
export function isDead(host: Pick<HostRow, "last_seen" | "in_order"> | undefined, now: Date): boolean {
  if (host === undefined || !host.in_order || host.last_seen === null) return true;
  return now.getTime() - host.last_seen.getTime() > deadAfterMs;
}

/** What to do now. Of a rollout that does not run: nothing. */
export function decide({ rollout, vms, hosts, now }: Scene): Decision {
  const { policy, state, gate } = rollout;
  if (state !== "running") return { enqueue: [], giveUp: [] };
  const taking = vms.filter(({ wave }) => wave !== null);
  const giveUp = taking.filter((vm) => vm.state === "planned" && vm.taken_back >= maxTakenBack);
  const become = (to: RolloutState, reason: string): Decision => ({
    ...{ enqueue: [], giveUp },
    become: { state: to, reason },
  });

  const counts = taking.filter(({ accepted }) => !accepted);
  const lost = counts.find((vm) => vm.state === "lost");
  if (lost !== undefined) return become("halted", `the guest ${lost.host}/${lost.vm} is lost`);
  const { maxPauseMs } = policy;
  const isTooLong = ({ state: its, downtime_ms: ms, is_measured }: VmRow) =>
    maxPauseMs !== undefined && its === "updated" && (!is_measured || (ms ?? 0) > maxPauseMs);
  const stoodStill = ({ downtime_ms: ms }: VmRow) =>
    ` stood still for ${ms === null ? "nobody knows how long" : `${ms.toFixed(0)} ms`}`;
  const failures = [...counts.filter((vm) => vm.state === "failed" || isTooLong(vm)), ...giveUp];
  const budget = budgetOf(policy, taking.length);
  if (failures.length > budget) {
    const named = failures.slice(0, 3).map((vm) => `${vm.host}/${vm.vm}${isTooLong(vm) ? stoodStill(vm) : ""}`);
    const more = failures.length > named.length ? ", …" : "";
    return become(
      "halted",
      `${failures.length} failed or were paused for too long, ${budget} may: ${named.join(", ")}${more}`,
    );
  }

  const dead = new Set(taking.filter((vm) => isOpen(vm) && isDead(hosts.get(vm.host), now)).map(({ host }) => host));
  const [firstDead] = dead;
  if (firstDead !== undefined && policy.onDeadHost === "halt") {
    return become("halted", `host ${firstDead} does not answer, or is out of order`);
  }

  const open = taking.filter((vm) => isOpen(vm) && !dead.has(vm.host) && !giveUp.includes(vm));
  if (open.length === 0) {
    const reason =
      dead.size === 0 ? "every VM has had its turn" : `but for the hosts that do not answer: ${[...dead].join(", ")}`;
    return become("finished", reason);
  }
  const wave = Math.min(...open.map((vm) => vm.wave ?? 0));
  const ofWave = taking.filter((vm) => vm.wave === wave);
  const hasBegun = ofWave.some((vm) => vm.state !== "planned" || vm.attempt > 0);
  if (!hasBegun) {
    const before = taking.filter((vm) => (vm.wave ?? 0) < wave).map((vm) => vm.ended_at?.getTime() ?? 0);
    const soaked = Math.max(0, ...before) + policy.soakSeconds * 1000;
    if (before.length > 0 && now.getTime() < soaked) {
      return { enqueue: [], giveUp, waits: `wave ${wave} begins ${new Date(soaked).toISOString()}` };
    }
    if (policy.gates.includes(wave) && gate < wave)
      return become("paused", `wave ${wave} waits for somebody's \`resume\``);
  }
  if (!isWorkingTime(policy, now)) return { enqueue: [], giveUp, waits: "outside of the working hours" };
  return { enqueue: pick(open, ofWave, taking, hosts, policy), giveUp };
}

function pick(
  open: readonly VmRow[],
  ofWave: readonly VmRow[],
  all: readonly VmRow[],
  hosts: Scene["hosts"],
  { perHost, perRack = Number.POSITIVE_INFINITY }: Rollout["policy"],
): Decision["enqueue"] {
  const rackOf = (host: string) => hosts.get(host)?.rack ?? "";
  const onHost = new Map<string, number>();
  const inRack = new Map<string, number>();
  const add = (host: string) => {
    onHost.set(host, (onHost.get(host) ?? 0) + 1);
    inRack.set(rackOf(host), (inRack.get(rackOf(host)) ?? 0) + 1);
  };
  for (const vm of all) if (active.has(vm.state)) add(vm.host);
  const isOpenHere = new Set(open);
  const chosen: Pick<VmRow, "host" | "vm">[] = [];
  for (const vm of ofWave) {
    if (vm.state !== "planned" || !isOpenHere.has(vm)) continue;
    if ((onHost.get(vm.host) ?? 0) >= perHost || (inRack.get(rackOf(vm.host)) ?? 0) >= perRack) continue;
    add(vm.host);
    chosen.push({ host: vm.host, vm: vm.vm });
  }
  return chosen;
}
