// `npm run kills`: at a random time of an update kills cprkit, a QEMU or both, stops one of them, lets the clock jump or
// begins another migration; then finishes with --abort or --resume and checks all that must hold (holds.ts). Hundreds of
// times.

import { rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { parseArgs } from "node:util";
import type { Accel } from "../../test/support/vm.ts";
import { everyOther, type Open, type Verdict, verdictOf, verdictOfLost } from "./holds.ts";
import { mayLose, strike, type Victim, victims } from "./strikes.ts";
import {
  cprkit,
  type Mode,
  machine,
  median,
  pick,
  qemuOf,
  randomFrom,
  type Subject,
  startVm,
  type Version,
  versionOf,
} from "./vms.ts";

const modes: readonly Mode[] = ["cpr-transfer", "cpr-exec", "cpr-reboot"];

const usage = `npm run kills -- [--count 300] [--minutes N] [--seed N] [--mode MODE] [--victim WHO] [--timeout 5]
                 [--accel tcg|kvm] [--output FILE]

Strikes at random times of updates. Ends with 1 if anything was not as it must be.
  --count N     how many (default 300)
  --minutes N   stop after so many minutes, whatever the count
  --seed N      the same seed gives the same victims, times and endings (default: the clock). Times are parts of how
                long an update takes, which is measured first: --length MS fixes it
  --mode MODE   ${modes.join(", ")} (default: all, by turns)
  --victim WHO  ${victims.join(", ")}
                (default: all, at random)
  --timeout S   --timeout of each update (default 5)
  --output F    also write the result as JSON

Example: npm run kills -- --count 50 --mode cpr-exec --victim "new QEMU stopped"
`;

interface Result {
  readonly number: number;
  readonly mode: Mode;
  readonly victim: Victim;
  readonly afterMs: number;
  readonly ending: "--abort" | "--resume";
  readonly from: Version;
  readonly to: Version;
  readonly waitedMs?: number;
  /** Where the guest was in the end, or "lost" if that was said. */
  readonly end: "old QEMU" | "new QEMU" | "lost, and said so";
  readonly wrong: readonly string[];
}

export async function main(args: string[]): Promise<number> {
  const { values } = parseArgs({
    args,
    options: {
      count: { type: "string", default: "300" },
      minutes: { type: "string", default: "100000" },
      seed: { type: "string", default: String(Date.now() % 1e9) },
      length: { type: "string" },
      mode: { type: "string" },
      victim: { type: "string" },
      timeout: { type: "string", default: "5" },
      accel: { type: "string", default: "tcg" },
      output: { type: "string" },
      help: { type: "boolean" },
    },
  });
  if (values.help === true) {
    process.stdout.write(usage);
    return 0;
  }
  const chosenModes = modes.filter((mode) => values.mode === undefined || values.mode === mode);
  const chosenVictims = victims.filter((victim) => values.victim === undefined || values.victim === victim);
  if (chosenModes.length === 0 || chosenVictims.length === 0) {
    process.stderr.write(usage);
    return 2;
  }
  const end = performance.now() + Number(values.minutes) * 60_000;
  const random = randomFrom(Number(values.seed));
  const bench: Bench = {
    machine: machine(),
    accel: values.accel as Accel,
    timeout: values.timeout,
    lengths: new Map(),
    open: new Map(),
    fixedLength: values.length === undefined ? undefined : Number(values.length),
  };
  process.stdout.write(`${values.count} strikes, seed ${values.seed}, ${bench.machine}\n`);
  const results: Result[] = [];
  let vm: Subject | undefined;
  let vmMode: Mode | undefined;
  const start = performance.now();
  for (let number = 1; number <= Number(values.count) && performance.now() < end; number++) {
    const mode = chosenModes[number % chosenModes.length] as Mode;
    // All are drawn in every round: what one round does must not change the next one's.
    const plan = {
      number,
      mode,
      victim: pick(chosenVictims, random),
      part: random() * 1.1,
      ending: pick(["--abort", "--resume"] as const, random),
      jumpSeconds: pick([-315_360_000, -3_600, -1, 1, 3_600, 315_360_000], random),
    };
    if (vm === undefined || vmMode !== mode) {
      await vm?.end();
      vm = await startFor(mode, bench);
      vmMode = mode;
    }
    const result = await round(vm, plan, bench);
    results.push(result);
    if (result.wrong.length > 0) process.stdout.write(`${number}: ${JSON.stringify(result)}\n`);
    else if (number % 25 === 0) process.stdout.write(`${number} of ${values.count}\n`);
    if (result.wrong.length > 0 || result.end === "lost, and said so") {
      await vm.end();
      vm = undefined;
    }
    if (values.output !== undefined) write(values.output, Number(values.seed), bench, results, start);
  }
  await vm?.end();
  const left = everyOther([]);
  const wrong = results.filter((result) => result.wrong.length > 0);
  process.stdout.write(
    `${[...table(results), ...left].join("\n")}\n${results.length} strikes, ${wrong.length} with faults, seed ${values.seed}\n`,
  );
  return wrong.length === 0 && left.length === 0 ? 0 : 1;
}

/** What all rounds share. */
interface Bench {
  readonly machine: string;
  readonly accel: Accel;
  readonly timeout: string;
  readonly fixedLength: number | undefined;
  /** How long an update takes here, in milliseconds: the strikes fall into this time and a little after it. */
  readonly lengths: Map<Mode, number>;
  /** What a QEMU of a version had open after an update that nobody disturbed. */
  readonly open: Map<string, Open>;
}

async function startFor(mode: Mode, bench: Bench): Promise<Subject> {
  const vm = await startVm(
    mode === "cpr-exec" ? "11.1" : "10.0",
    bench.accel,
    mode === "cpr-reboot" ? "file" : "memfd",
  );
  if (bench.lengths.has(mode)) return vm;
  const times: number[] = [];
  for (let run = 0; run < 4; run++) {
    const to = nextOf(vm, mode);
    const { code, stderr, ms } = await cprkit(vm, updateWords(mode, to, bench)).ended;
    if (code !== 0) throw new Error(`an update that nobody disturbed failed: ${stderr}`);
    const { open, wrong } = await verdictOf(vm, () => undefined);
    if (wrong.length > 0) throw new Error(`after an update that nobody disturbed: ${wrong.join("; ")}`);
    bench.open.set(`${mode} ${to}`, open);
    times.push(ms);
  }
  const length = bench.fixedLength ?? median(times);
  bench.lengths.set(mode, length);
  process.stdout.write(`${mode}: an update takes ${length.toFixed(0)} ms\n`);
  return vm;
}

function updateWords(mode: Mode, to: Version, { timeout }: Bench): string[] {
  return ["update", "--qemu", qemuOf(to), "--mode", mode, "--timeout", timeout, "--json"];
}

/** cpr-exec stays with 11.1, the only one of the two that has it. */
function nextOf(vm: Subject, mode: Mode): Version {
  const [pid = 0] = vm.qemus();
  return mode === "cpr-exec" || versionOf(pid) === "10.0" ? "11.1" : "10.0";
}

interface Plan {
  readonly number: number;
  readonly mode: Mode;
  readonly victim: Victim;
  readonly part: number;
  readonly ending: "--abort" | "--resume";
  readonly jumpSeconds: number;
}

async function round(vm: Subject, plan: Plan, bench: Bench): Promise<Result> {
  const { number, mode, victim, ending, jumpSeconds } = plan;
  const [source = 0] = vm.qemus();
  const before = await verdictOf(vm, () => undefined);
  const from = versionOf(source);
  const to = nextOf(vm, mode);
  const afterMs = Math.round(plan.part * (bench.lengths.get(mode) ?? 1_000));
  const { running, blow } = await strike(victim, {
    vm,
    source,
    afterMs,
    jumpSeconds,
    begin: () => cprkit(vm, updateWords(mode, to, bench)),
  });
  const update = await running.ended;
  const finish = await cprkit(vm, ["update", ending, "--json"]).ended;
  // A killed cprkit can't end the programs that it was asking something: the next preflight or update does.
  if (update.signal === "SIGKILL") await cprkit(vm, ["preflight", "--qemu", qemuOf(to)]).ended;
  rmSync(join(vm.home, "tmp/migration"), { force: true });
  const waited = blow.waitedMs === undefined ? {} : { waitedMs: Math.round(blow.waitedMs) };
  const result = { number, mode, victim, afterMs, ending, from, to, ...waited };
  const said = [update.stdout, update.stderr, finish.stdout, finish.stderr].join(" ").trim();
  const hung = [
    ...(update.hung ? ["the update hung"] : []),
    ...(finish.hung ? [`update ${ending} hung`] : []),
    ...before.wrong.map((text) => `before the update: ${text}`),
    ...blow.wrong,
  ];
  if (vm.qemus().length === 0) {
    const wrong = [...hung, ...(await verdictOfLost(vm))];
    if (!mayLose.has(victim)) wrong.push(`the guest is lost: ${said}`);
    return { ...result, end: "lost, and said so", wrong };
  }
  const verdict = await verdictOf(vm, (pid) =>
    pid === source && mode !== "cpr-exec" ? before.open : bench.open.get(`${mode} ${versionOf(pid)}`),
  );
  const wrong = [...hung, ...verdict.wrong, ...untrue(update, finish, verdict, source, mode)];
  const isOld = verdict.pid === source && (mode !== "cpr-exec" || !said.includes('"updated"'));
  return {
    ...result,
    end: isOld ? "old QEMU" : "new QEMU",
    wrong: wrong.length === 0 ? [] : [...wrong, `said: ${said.slice(0, 2_000)}`],
  };
}

interface Said {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** What the two commands said of the guest, against where it is. */
function untrue(update: Said, finish: Said, { pid }: Verdict, source: number, mode: Mode): string[] {
  const wrong: string[] = [];
  if (update.code === 0) {
    const report = JSON.parse(update.stdout) as { pid: number; downtimeMs?: number; totalMs: number };
    if (report.pid !== pid) wrong.push(`the update said that process ${report.pid} has the guest, and ${pid} has it`);
    const { downtimeMs = 0, totalMs } = report;
    if (downtimeMs < 0 || downtimeMs > totalMs) wrong.push(`a downtime of ${downtimeMs} ms in ${totalMs} ms`);
  }
  if (update.stderr.includes("was rolled back") && pid !== source) {
    wrong.push(`the update said "rolled back", and process ${pid} has the guest`);
  }
  if (finish.code === 0 || finish.code === 1) {
    const recovery = JSON.parse(finish.stdout) as { outcome: string; pid?: number };
    const isOld = recovery.outcome === "rolled-back";
    if (recovery.pid !== pid || (mode !== "cpr-exec" && isOld !== (pid === source))) {
      wrong.push(`the end said ${recovery.outcome}, process ${recovery.pid}, and ${pid} has the guest`);
    }
  } else if (!finish.stderr.includes("nothing to do")) {
    wrong.push(`the end failed: ${finish.stderr.trim()}`);
  }
  return wrong;
}

function write(path: string, seed: number, bench: Bench, results: readonly Result[], start: number): void {
  const result = {
    machine: bench.machine,
    seed,
    timeoutSeconds: Number(bench.timeout),
    lengthsMs: Object.fromEntries(bench.lengths),
    minutes: Math.round((performance.now() - start) / 6_000) / 10,
    table: table(results),
    results,
  };
  writeFileSync(path, `${JSON.stringify(result, null, 1)}\n`);
}

/** One row for each mode and victim. */
function table(results: readonly Result[]): string[] {
  const ends = ["old QEMU", "new QEMU", "lost, and said so"] as const;
  const rows = modes.flatMap((mode) =>
    victims.flatMap((victim) => {
      const all = results.filter((result) => result.mode === mode && result.victim === victim);
      if (all.length === 0) return [];
      const waits = all.flatMap(({ waitedMs }) => (waitedMs === undefined ? [] : [waitedMs]));
      const counts = [
        ...ends.map((end) => all.filter((result) => result.end === end).length),
        all.filter(({ wrong }) => wrong.length > 0).length,
      ];
      const longest = waits.length === 0 ? "" : `${(Math.max(...waits) / 1000).toFixed(1)} s`;
      return [[mode, victim, String(all.length), ...counts.map(String), longest]];
    }),
  );
  const head = ["mode", "victim", "strikes", "old QEMU", "new QEMU", "lost, said so", "faults", "longest wait"];
  return [head, ["---", "---", ...head.slice(2).map(() => "---:")], ...rows].map((row) => `| ${row.join(" | ")} |`);
}
