// The new QEMU has built its machine and the guest still runs in the old one: what CPR does not carry is set, and the two
// machines are compared. And once more at the end, when the guest runs in the new one.

import type { ProcessIdentity } from "../../linux/index.ts";
import { isSameProgram, type ProgramFile } from "../../linux/process/program-file.ts";
import { giveToThreads } from "../attributes/threads.ts";
import type { QmpStep } from "../carry/subject.ts";
import { attachQueues, hasTaps, holdHeaders, readTaps } from "../handover/tap-settings.ts";
import { type CompareOptions, compareMachines, prepareToCompare } from "../machine/compare.ts";
import { type Reading, type ReadingOptions, readOpenMachine } from "../machine/read.ts";
import type { Qmp } from "../qmp/client.ts";
import { programOf, readVmProcess } from "../vm/process.ts";
import { adopt, besideOf, connectDestination, sourceQmp, startBeside, switchedOn } from "./beside.ts";
import { runHook } from "./hooks.ts";
import { isOfLeftOut, type LeftOut } from "./modes/exclusive.ts";
import { setOwners } from "./names.ts";
import type { Destination } from "./peers/destination.ts";
import { monitorOf, type Peer } from "./peers/peer.ts";
import { inWords, refuseDifferences, splitDifferences } from "./peers/same-machine.ts";
import { writeJournal } from "./record/journal.ts";
import type { Run } from "./run.ts";

/**
 * Gives the new QEMU what the VM has since its start, and compares it with the running one.
 *
 * @param leftOut what a trial has not got
 * @throws CprkitError ERR_UPDATE_REFUSED naming the first differences; as `Qmp.execute`
 */
export async function makeReady(run: Run, peer: Peer, qmp: Qmp, leftOut: readonly LeftOut[] = []): Promise<void> {
  const { identity } = peer;
  const { prepared, timeoutMs, options } = run;
  const wait = { signal: options.signal, timeoutMs };
  await Promise.all([
    qmp.execute("migrate-set-capabilities", { capabilities: switchedOn(["events"]) }, wait),
    give(qmp, prepared.carry.before, wait),
    giveToThreads(identity.pid, qmp, prepared.machine.process.threads, { timeoutMs }),
  ]);
  run.warnings.push(...setOwners(run.journal.moved, run.journal, peer));
  const switches = switchesFor(prepared.vm.process.identity, programOf(identity.pid));
  const old = run.reading?.switches === switches ? run.reading.old : readOld(run, switches);
  // Of the same program: an older QEMU has to be asked only what differs from the old one, whose reading it waits for.
  const knownFor = async () => (prepared.reading.said === undefined ? prepared.reading : await old);
  const readNew = async () =>
    readOpenMachine({ qmp, process: readVmProcess(identity.pid) }, wait, {
      switches,
      before: switches === "leave out" ? await knownFor() : undefined,
      // It should be the same machine.
      paths: prepared.reading.machine.qom.map(({ path }) => path),
      // They are switched on when the old QEMU has ended.
      traceEvents: false,
    });
  const [{ machine: here }, reading] = await Promise.all([old, readNew()]);
  const { machine: there } = reading;
  const compared = compareMachines(here, { ...there, migration: here.migration }, howToCompare(run));
  const differences = compared.differences.filter(({ path }) => !isOfLeftOut(path, leftOut));
  const comparison = { ...compared, differences };
  run.machine = here;
  run.built = {
    identity,
    switches: switches === "read" ? { known: there.qom } : switches,
    reading,
  };
  run.comparison.before = comparison;
  const { grave, light } = splitDifferences(comparison, options.command !== undefined);
  const allowed = options.allow?.includes("machine-differs") === true;
  if (!allowed) refuseDifferences(grave);
  run.warnings.push(...[...(allowed ? grave : []), ...light].map((one) => `differs: ${inWords(one)}`));
}

/**
 * Begins to read the old machine while the new QEMU starts, to which it will be compared. Not where the new one gets taps:
 * meanwhile this process must look at them all the time (handover/tap-settings.ts).
 */
export function beginToCompare(run: Run): void {
  const { vm, nextProgram, handed } = run.prepared;
  if (hasTaps(handed) || nextProgram === undefined) return;
  const switches = switchesFor(vm.process.identity, nextProgram);
  const old = readOld(run, switches);
  // Who waits for it gets its error.
  old.catch(() => undefined);
  run.reading = { switches, old };
}

async function readOld(run: Run, switches: ReadingOptions["switches"]): Promise<Reading> {
  const { options, over, timeoutMs, prepared } = run;
  const signals = options.signal === undefined ? [over.signal] : [options.signal, over.signal];
  const wait = { signal: AbortSignal.any(signals), timeoutMs };
  const old = { qmp: await sourceQmp(run), process: prepared.vm.process };
  // Of trace events counts what the plan has seen: those are switched on in the new one. And of the migration's settings, which
  // the update has set in both by now: what they were is given back at the end.
  const { traceEvents, migration } = prepared.machine;
  const { machine: now, ...rest } = await readOpenMachine(old, wait, {
    switches,
    before: prepared.reading,
    traceEvents: false,
  });
  const machine = { ...now, traceEvents, migration };
  // While the new QEMU starts.
  prepareToCompare(machine);
  return { machine, ...rest };
}

/** In the same program a CPU's switches follow from -cpu, and what they make of the CPU is compared in any case. */
function switchesFor({ pid }: ProcessIdentity, next: ProgramFile): "read" | "leave out" {
  return isSameProgram(programOf(pid), next) ? "leave out" : "read";
}

/**
 * Starts the new QEMU, which waits for its state, sets what both sides of the migration must have, and goes on up to the
 * last step at which nothing has been stopped.
 *
 * @throws CprkitError as {@link makeReady}, `startBeside`, `connectDestination`
 */
export async function startReady(
  run: Run,
  capabilities: readonly string[],
  parameters: Readonly<Record<string, unknown>>,
): Promise<{ readonly destination: Destination; readonly qmp: Qmp }> {
  const wait = { signal: run.options.signal, timeoutMs: run.timeoutMs };
  const release = guardTaps(run);
  run.over.signal.addEventListener("abort", release, { once: true });
  const destination = await startBeside(run, besideOf(run.prepared), ["defer"]);
  adopt(run, destination);
  beginToCompare(run);
  await run.step("started");
  const qmp = await connectDestination(run, destination, destination.orExit);
  release();
  await qmp.execute("migrate-set-capabilities", { capabilities: switchedOn(capabilities) }, wait);
  await qmp.execute("migrate-set-parameters", parameters, wait);
  await destination.orExit(makeReady(run, destination, qmp));
  await run.step("destination-ready");
  await runHook(run, "beforePause");
  await run.step("before-switch", () => letGo(run));
  return { destination, qmp };
}

/** Compares once more, the guest having run on: differences that were not there before are warnings. Never throws. */
export async function compareAfter(run: Run, destination: Peer): Promise<void> {
  const { machine, comparison, timeoutMs } = run;
  if (machine === undefined) return;
  try {
    const qmp = await monitorOf(destination, timeoutMs);
    const { identity } = destination;
    // Of cpr-exec's trial it is another process.
    const { identity: built, switches: known, reading } = run.built ?? {};
    const isIt = built?.pid === identity.pid && built.startTime === identity.startTime;
    const isSame = isIt || known === "leave out";
    const how = isSame ? { switches: known, before: reading } : {};
    const { machine: now } = await readOpenMachine({ qmp, process: readVmProcess(identity.pid) }, { timeoutMs }, how);
    comparison.after = compareMachines(machine, now, howToCompare(run));
    const told = new Set(comparison.before?.differences.map(({ path }) => path));
    const fresh = comparison.after.differences.filter(({ path }) => !told.has(path));
    run.warnings.push(...fresh.map((one) => `differs since the update: ${inWords(one)}`));
  } catch (error) {
    run.warnings.push(
      `the machine could not be compared at the end: ${error instanceof Error ? error.message : error}`,
    );
  }
}

/**
 * Prepares the taps for a QEMU that is about to start: written down first, how they were.
 *
 * @returns to be called once it has built its machine, or has failed to
 * @throws CprkitError
 */
export function guardTaps({ journal, prepared, source }: Run): () => void {
  journal.taps ??= readTaps(source.identity, prepared.handed);
  if (journal.taps.length === 0) return () => undefined;
  writeJournal(prepared.folder, journal);
  attachQueues(source.identity, journal.taps);
  return holdHeaders(source.identity, journal.taps);
}

function howToCompare({ journal }: Run): CompareOptions {
  return { ramCopied: journal.mode === "copy" };
}

/** Takes from the old QEMU what only one of the two can have, just before the guest stops. @throws CprkitError */
export async function letGo(run: Run): Promise<void> {
  const { journal, prepared, options, timeoutMs } = run;
  if (prepared.carry.release.length === 0) return;
  // Written down first: whoever rolls back gives it all back, the last one first.
  journal.undo = prepared.carry.release.map(({ undo }) => ({ ...undo })).reverse();
  writeJournal(prepared.folder, journal);
  const steps = prepared.carry.release.map((each) => each.do);
  await give(await sourceQmp(run), steps, { signal: options.signal, timeoutMs });
}

async function give(qmp: Qmp, steps: readonly QmpStep[], wait: { signal: AbortSignal | undefined; timeoutMs: number }) {
  for (const { execute, arguments: args } of steps) await qmp.execute(execute, args, wait);
}
