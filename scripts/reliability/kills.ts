// `npm run kills`: kills cprkit, or cprkit and a QEMU, or stops a QEMU, at a random time of an update, hundreds of
// times, finishes with --abort or --resume, and checks what must hold after each: one QEMU that runs the guest without
// a gap and nothing left behind, or the plain word that the guest is lost.

import { writeFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { parseArgs } from "node:util";
import type { Updatable } from "../../test/qemu/update-support.ts";
import type { Accel } from "../../test/support/vm.ts";
import {
  cprkit,
  leftFiles,
  type Mode,
  machine,
  median,
  qemuOf,
  randomFrom,
  settled,
  startVm,
  sweep,
  target,
  type Version,
  versionOf,
} from "./vms.ts";

const usage = `npm run kills -- [--count 300] [--seed N] [--mode MODE] [--accel tcg|kvm] [--output FILE]

Kills at random times during updates. Ends with 1 if anything was not as it must be.
  --count N     how many (default 300)
  --seed N      the same seed gives the same victims, times and endings (default: the clock)
  --mode MODE   cpr-transfer, cpr-exec or cpr-reboot (default: all three, by turns)
  --output F    also write the result as JSON

Example: npm run kills -- --count 50 --mode cpr-exec
`;

/** Who is struck. The source may not be: with it the guest is gone, whoever updates. */
const victims = ["cprkit", "cprkit and new QEMU", "new QEMU", "cprkit, stopped for 2 s"] as const;
type Victim = (typeof victims)[number];

interface Strike {
  readonly mode: Mode;
  readonly victim: Victim;
  readonly afterMs: number;
  readonly ending: "--abort" | "--resume";
  readonly from: Version;
  readonly to: Version;
  /** Where the guest was in the end, "lost" if that was said, or what was wrong. */
  readonly end: "old QEMU" | "new QEMU" | "lost, and said so" | "wrong";
  readonly wrong?: string;
}

export async function main(args: string[]): Promise<number> {
  const { values } = parseArgs({
    args,
    options: {
      count: { type: "string", default: "300" },
      seed: { type: "string", default: String(Date.now() % 1e9) },
      mode: { type: "string" },
      accel: { type: "string", default: "tcg" },
      output: { type: "string" },
      help: { type: "boolean" },
    },
  });
  if (values.help === true) {
    process.stdout.write(usage);
    return 0;
  }
  const count = Number(values.count);
  const random = randomFrom(Number(values.seed));
  const modes: readonly Mode[] =
    values.mode === undefined ? ["cpr-transfer", "cpr-exec", "cpr-reboot"] : [values.mode as Mode];
  process.stdout.write(`${count} kills, seed ${values.seed}, ${machine()}\n`);
  const strikes: Strike[] = [];
  let vm: { readonly vm: Updatable; readonly mode: Mode } | undefined;
  const lengths = new Map<Mode, number>();
  for (let at = 0; at < count; at++) {
    const mode = modes[at % modes.length] as Mode;
    if (vm?.mode !== mode) {
      await vm?.vm.end();
      vm = { vm: await startVm(mode === "cpr-exec" ? "11.1" : "10.0", values.accel as Accel, mode), mode };
      if (!lengths.has(mode)) lengths.set(mode, await lengthOf(vm.vm, mode));
    }
    const strike = await strikeOnce(vm.vm, mode, lengths.get(mode) ?? 1000, random);
    strikes.push(strike);
    if (strike.end === "wrong") process.stdout.write(`${at + 1}: ${JSON.stringify(strike)}\n`);
    else if ((at + 1) % 25 === 0) process.stdout.write(`${at + 1} of ${count}\n`);
    if (strike.end === "wrong" || strike.end === "lost, and said so") {
      await vm.vm.end();
      vm = undefined;
    }
  }
  await vm?.vm.end();
  const rows = summary(strikes);
  process.stdout.write(`${rows.join("\n")}\n`);
  const wrong = strikes.filter(({ end }) => end === "wrong");
  if (values.output !== undefined) {
    const result = {
      machine: machine(),
      seed: Number(values.seed),
      count,
      lengths: Object.fromEntries(lengths),
      rows,
      strikes,
    };
    writeFileSync(values.output, `${JSON.stringify(result, null, 1)}\n`);
  }
  return wrong.length === 0 ? 0 : 1;
}

/** How long an update takes here, in milliseconds: the kills fall into this time and a little after it. */
async function lengthOf(vm: Updatable, mode: Mode): Promise<number> {
  const times: number[] = [];
  for (let run = 0; run < 2; run++) {
    const { code, stderr, ms } = await cprkit([
      "update",
      ...target(vm),
      "--qemu",
      qemuOf(nextOf(vm, mode)),
      "--mode",
      mode,
    ]).ended;
    if (code !== 0) throw new Error(`an update that nobody disturbs failed: ${stderr}`);
    times.push(ms);
  }
  return median(times);
}

/** cpr-exec stays with 11.1, the only one of the two that has it. */
function nextOf(vm: Updatable, mode: Mode): Version {
  const [pid = 0] = vm.qemus();
  return mode === "cpr-exec" || versionOf(pid) === "10.0" ? "11.1" : "10.0";
}

async function strikeOnce(vm: Updatable, mode: Mode, length: number, random: () => number): Promise<Strike> {
  const victim = victims[Math.floor(random() * victims.length)] as Victim;
  const afterMs = Math.round(random() * length * 1.1);
  const ending = random() < 0.5 ? "--abort" : "--resume";
  const [source = 0] = vm.qemus();
  const from = versionOf(source);
  const to = nextOf(vm, mode);
  const words = ["update", ...target(vm), "--qemu", qemuOf(to), "--mode", mode, "--timeout", "8"];
  const running = cprkit(words);
  await sleep(afterMs);
  const others = vm.qemus().filter((pid) => pid !== source);
  if (victim === "cprkit, stopped for 2 s") {
    running.child.kill("SIGSTOP");
    await sleep(2_000);
    running.child.kill("SIGCONT");
  } else {
    if (victim !== "new QEMU") running.child.kill("SIGKILL");
    if (victim !== "cprkit") for (const pid of others) kill(pid);
  }
  const { stderr } = await running.ended;
  const finish = await cprkit(["update", ending, ...target(vm)]).ended;
  const said = await cprkit(["status", ...target(vm)]).ended;
  const told = `${stderr} ${finish.stdout} ${finish.stderr} ${said.stdout} ${said.stderr}`;
  const strike = { mode, victim, afterMs, ending, from, to } as const;
  if (vm.qemus().length === 0) {
    // Only who runs the guest can take it along.
    const fair = (victim === "new QEMU" || victim === "cprkit and new QEMU") && /lost|nobody|no QEMU|ended/.test(told);
    return fair
      ? { ...strike, end: "lost, and said so" }
      : { ...strike, end: "wrong", wrong: `the guest is gone: ${told}` };
  }
  const { pid, wrong } = await settled(vm, 15_000);
  if (wrong !== undefined) return { ...strike, end: "wrong", wrong: `${wrong}; told: ${told}` };
  const processes = await sweep([pid], 5_000);
  if (processes.length > 0) return { ...strike, end: "wrong", wrong: `left behind: ${processes.join("; ")}` };
  const left = leftFiles(vm);
  if (left.length > 0) return { ...strike, end: "wrong", wrong: `files left: ${left.join(", ")}` };
  const status = await cprkit(["status", ...target(vm), "--json"]).ended;
  if (status.code !== 0)
    return { ...strike, end: "wrong", wrong: `status ${status.code}: ${status.stdout}${status.stderr}` };
  return {
    ...strike,
    end:
      pid === source && mode !== "cpr-exec"
        ? "old QEMU"
        : versionOf(pid) === from && mode !== "cpr-exec"
          ? "old QEMU"
          : "new QEMU",
  };
}

function kill(pid: number): void {
  try {
    process.kill(pid, "SIGKILL");
  } catch {
    // It has ended by itself.
  }
}

function summary(strikes: readonly Strike[]): string[] {
  const ends = ["old QEMU", "new QEMU", "lost, and said so", "wrong"] as const;
  const head = `${"mode".padEnd(14)}${"victim".padEnd(26)}${ends.map((end) => end.padStart(20)).join("")}`;
  const groups = new Map<string, Strike[]>();
  for (const strike of strikes) {
    const key = `${strike.mode.padEnd(14)}${strike.victim.padEnd(26)}`;
    groups.set(key, [...(groups.get(key) ?? []), strike]);
  }
  const rows = [...groups]
    .sort(([a], [b]) => (a < b ? -1 : 1))
    .map(
      ([key, all]) =>
        key + ends.map((end) => String(all.filter((strike) => strike.end === end).length).padStart(20)).join(""),
    );
  return [head, ...rows];
}
