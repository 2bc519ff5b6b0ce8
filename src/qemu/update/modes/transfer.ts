// cpr-transfer: the new QEMU builds its machine while the guest runs, with the fds that the tap brings it; only
// then is the guest stopped, for as long as its devices' state needs to pass.

import { setTimeout as delay } from "node:timers/promises";
import { waitFor } from "../../../linux/wait/wait-for.ts";
import { CprkitError } from "../../../vmstate/error.ts";
import { type PassedState, type TapResult, tap } from "../../tap.ts";
import {
  adopt,
  beginMigration,
  besideOf,
  connectDestination,
  setSource,
  sourceQmp,
  startBeside,
  untilListening,
} from "../beside.ts";
import { runHook } from "../hooks.ts";
import type { Peer } from "../peers/peer.ts";
import { beginToCompare, guardTaps, letGo, makeReady } from "../ready.ts";
import { meetingPlace, type Run } from "../run.ts";
import { noteDowntime, switchOver, timeOf, untilTakenOver } from "../switch-over.ts";

/** Runs the update up to the moment when the destination has the guest. @throws whatever went wrong; then settle */
export async function runTransfer(run: Run): Promise<void> {
  const { prepared, timeoutMs, options } = run;
  const { signal } = options;
  const { here, there } = meetingPlace(run);

  await run.step("source-set", () => setSource(run, { mode: "cpr-transfer" }, ["events", "return-path"]));

  const cpr = { "channel-type": "cpr", addr: { transport: "socket", type: "unix", path: there("c") } };
  const destination = await startBeside(run, besideOf(prepared), ["defer", JSON.stringify(cpr)]);
  adopt(run, destination);
  beginToCompare(run);
  await run.step("started");

  await destination.orExit(untilListening({ here: here("c"), there: there("c") }, destination, run));
  const tapped = startTap(run, destination, here("t"), here("c"));
  await tapped.listening;
  await run.step("listening");

  const release = guardTaps(run);
  run.over.signal.addEventListener("abort", release, { once: true });
  const source = await sourceQmp(run);
  const unix = (to: string) => ({ transport: "socket", type: "unix", path: to });
  const channels = [
    { "channel-type": "main", addr: unix(there("m")) },
    { "channel-type": "cpr", addr: unix(there("t")) },
  ];
  await destination.orExit(tapped.orFail(beginMigration(run, { channels })));
  await run.step("migrating");

  // The tap waits for the old QEMU to connect as long as it takes; that one may have been stopped just before.
  const passed = await destination.orExit(inTime(run, tapped.state));
  if (passed.abi === undefined) {
    // QEMU 11.1 goes on without an fd that it could not take: a state that can't be read here is not to be trusted there.
    throw new CprkitError("ERR_UPDATE_FAILED", `the old QEMU's CPR state can't be read: ${passed.warnings.join("; ")}`);
  }
  run.fds = passed.fds.map(({ name, id, what }) => ({ name, id, what }));
  run.warnings.push(...passed.warnings);
  await run.step("state-passed");

  const qmp = await connectDestination(run, destination, (work) => destination.orExit(tapped.orFail(work)));
  release();
  const { status } = await qmp.execute("query-status", undefined, { signal, timeoutMs });
  if (status !== "inmigrate") {
    throw new CprkitError(
      "ERR_UPDATE_FAILED",
      `the new QEMU should wait for the guest, but its run state is ${status}`,
    );
  }
  await destination.orExit(makeReady(run, destination, qmp));
  await run.step("destination-ready");
  await runHook(run, "beforePause");
  await run.step("before-switch", () => letGo(run));

  // With this the destination listens on the main channel and hangs up the CPR channel; the source then goes on by
  // itself: whether or not cprkit lives, the guest ends up in one of the two.
  const stopped = await switchOver(run, source, () =>
    destination.orExit(qmp.execute("migrate-incoming", { uri: `unix:${there("m")}` }, { signal, timeoutMs })),
  );
  await untilTakenOver(run, destination);
  await stopped();
  noteDowntime(run, timeOf(source, "STOP"), timeOf(qmp, "RESUME"));
  const result = await tapped.done;
  run.nonblockRestored = result?.nonblockRestored ?? 0;
}

/** @throws CprkitError ERR_TIMEOUT, ERR_ABORTED */
function inTime<T>({ timeoutMs, options: { signal } }: Run, state: Promise<T>): Promise<T> {
  const onTimeout = () => `the old QEMU's CPR state has not passed within ${timeoutMs} ms`;
  return waitFor<T>("waiting for the CPR state", { timeoutMs, signal }, onTimeout, ({ resolve, reject }) => {
    state.then(resolve, reject);
    return () => undefined;
  });
}

interface Tapped {
  readonly listening: Promise<void>;
  readonly state: Promise<PassedState>;
  /** Settles as `work` does, but rejects when the tap fails or a side hangs up before its time. */
  orFail<T>(work: Promise<T>): Promise<T>;
  /** The result, or undefined if the tap was ended by force; never rejects. */
  readonly done: Promise<TapResult | undefined>;
}

function startTap(run: Run, destination: Peer, listen: string, connect: string): Tapped {
  const { prepared, timeoutMs, over } = run;
  let onListening: () => void = () => undefined;
  let onState: (state: PassedState) => void = () => undefined;
  const listening = new Promise<void>((resolve) => {
    onListening = resolve;
  });
  const state = new Promise<PassedState>((resolve) => {
    onState = resolve;
  });
  const { forVersion, vm } = prepared;
  const { uid } = vm.process.credentials;
  // In a folder of QEMU's user alone.
  const listenMode = uid === process.geteuid?.() ? undefined : 0o666;
  const result = tap({
    listen,
    listenMode,
    connect,
    peerUid: uid,
    source: run.source.identity,
    destination: destination.identity,
    forVersion,
    signal: over.signal,
    timeoutMs,
    // Each thing that is done until then has a time limit of its own, which says what was late.
    hangupTimeoutMs: Number.POSITIVE_INFINITY,
    onListening,
    onState,
  });
  const early = result.then(({ hungUpBy }): never => {
    const who = hungUpBy === "source" ? "old" : "new";
    throw new CprkitError("ERR_PEER", `the ${who} QEMU hung up the CPR channel before the guest could be handed over`);
  });
  early.catch(() => undefined);
  const orFail = <T>(work: Promise<T>): Promise<T> => {
    const raced = Promise.race([work, early]);
    // It may fail before somebody waits for it.
    raced.catch(() => undefined);
    return raced;
  };
  return {
    listening: orFail(listening),
    state: orFail(state),
    orFail,
    done: Promise.race([result, delay(timeoutMs, undefined, { signal: over.signal })]).catch(() => undefined),
  };
}
