// What this host could update: the answer to the question of a rollout that is being planned.

import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { planUpdate } from "cprkit/qemu";
import { type HostConfig, vmName } from "../config.ts";
import { messageOf } from "../error.ts";
import { type Offer, offer } from "../ledger/host.ts";
import { type AgentContext, codeOf, qmpOf } from "./act.ts";
import { runningOf } from "./ensure.ts";
import { readRelease, readReleases } from "./releases.ts";

/** What an undo finds of a VM in the ledger: what ran before, and what its rollout put there. */
interface Earlier {
  readonly vm: string;
  readonly before: { readonly release?: string } | null;
  readonly after: { readonly release?: string } | null;
}

/** Says of every VM of this host whether it can take part in the rollout. Changes nothing. */
export async function plan(context: AgentContext, rollout: string): Promise<{ readonly offers: number }> {
  const { host, pool } = context;
  const { rows } = await pool.query<{ release: string; undoes: string | null }>(
    "select release, undoes from cprkit_fleet.rollout where id = $1 and state = 'planning'",
    [rollout],
  );
  const [asked] = rows;
  if (asked === undefined) return { offers: 0 };
  const wanted =
    asked.undoes === null
      ? findVmNames(host).map((vm) => ({ vm, release: asked.release }))
      : (await readUndone(context, asked.undoes)).map(({ vm, before, after }) => ({
          vm,
          release: before?.release ?? "",
          only: after?.release,
        }));
  for (const each of wanted) await offer(pool, rollout, await examine(context, each));
  return { offers: wanted.length };
}

async function readUndone({ pool }: AgentContext, rollout: string): Promise<Earlier[]> {
  const { rows } = await pool.query<Earlier>(
    "select vm, before, after from cprkit_fleet.rollout_vm where rollout = $1 and state = 'updated' order by vm",
    [rollout],
  );
  return rows;
}

async function examine(
  { host, state }: AgentContext,
  { vm, release, only }: { readonly vm: string; readonly release: string; readonly only?: string | undefined },
): Promise<Offer> {
  let before: Offer["before"];
  const no = (how: "refused" | "skipped", code: string, why: string): Offer => ({
    vm,
    release,
    before,
    state: how,
    code,
    why,
  });
  const qmp = qmpOf(host, vm);
  try {
    before = await runningOf({ qmp, releases: readReleases(host.releases), stateDir: state.updates });
    if (release === "") return no("refused", "release-unknown", "what ran before is none of the host's releases");
    if (only !== undefined && before.release !== only) {
      return no("skipped", "changed-since", `it runs ${before.release ?? "none of the host's releases"} by now`);
    }
    if (before.release === release) return no("skipped", "already-there", `it runs ${release} already`);
    const { qemu, allow, mode } = readRelease(host.releases, release);
    const { findings } = await planUpdate({ qmp }, { qemu, allow, mode, stateDir: state.updates });
    const blocker = findings.find(({ severity }) => severity === "blocker");
    if (blocker !== undefined) return no("refused", blocker.code, `${blocker.message}; ${blocker.remedy}`);
    return { vm, release, before, state: "planned" };
  } catch (error) {
    return no("refused", codeOf(error), messageOf(error));
  }
}

/** The names of the VMs whose monitors are where the configuration says. */
function findVmNames({ qmp }: Pick<HostConfig, "qmp">): string[] {
  const [before = "", after = ""] = qmp.split("{vm}");
  const folder = before.slice(0, before.lastIndexOf("/") + 1);
  const start = before.slice(folder.length);
  const end = after.split("/", 1)[0] ?? "";
  const rest = after.slice(end.length);
  if (!existsSync(folder)) return [];
  return readdirSync(folder)
    .filter((name) => name.startsWith(start) && name.endsWith(end) && name.length > start.length + end.length)
    .filter((name) => existsSync(join(folder, name + rest)))
    .map((name) => name.slice(start.length, name.length - end.length))
    .filter((name) => vmName.safeParse(name).success)
    .sort();
}
