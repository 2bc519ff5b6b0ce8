// copy: a live migration on the same host, into a QEMU whose memory CPR can hand over from then on. The guest runs while
// its RAM is copied; QEMU itself stops it when what is left fits into the downtime that is allowed.

import { CprkitError } from "../../../vmstate/error.ts";
import type { Qmp } from "../../qmp/client.ts";
import {
  adopt,
  beginMigration,
  besideOf,
  connectDestination,
  setSource,
  sourceQmp,
  startBeside,
  switchedOn,
} from "../beside.ts";
import { runHook } from "../hooks.ts";
import { guardTaps, letGo, makeReady } from "../ready.ts";
import { meetingPlace, type Run } from "../run.ts";
import { noteDowntime, switchOver, timeOf, untilTakenOver } from "../switch-over.ts";
import { watchCopy } from "./copy-progress.ts";

/** Runs the update up to the moment when the destination has the guest. @throws whatever went wrong; then settle */
export async function runCopy(run: Run): Promise<void> {
  const { prepared, timeoutMs, options } = run;
  const wait = { signal: options.signal, timeoutMs };
  const uri = `unix:${meetingPlace(run).there("m")}`;
  run.fds = [];
  // RAM that stays where it is needs no channels.
  const own = prepared.ramInFiles ? ["x-ignore-shared"] : ["multifd"];
  const parameters = prepared.ramInFiles ? {} : { "multifd-channels": channels };
  await run.step("source-set", async () => {
    await switchOff(await sourceQmp(run), run);
    await setSource(run, { ...parametersOf(run), ...parameters }, ["events", "return-path", ...own, "auto-converge"]);
  });

  const release = guardTaps(run);
  run.over.signal.addEventListener("abort", release, { once: true });
  const destination = await startBeside(run, besideOf(prepared), ["defer"]);
  adopt(run, destination);
  await run.step("started");
  const qmp = await connectDestination(run, destination, destination.orExit);
  release();
  await qmp.execute("migrate-set-capabilities", { capabilities: switchedOn(["events", "return-path", ...own]) }, wait);
  await qmp.execute("migrate-set-parameters", parameters, wait);
  await destination.orExit(makeReady(run, destination, qmp));
  await run.step("destination-ready");
  await runHook(run, "beforePause");
  await run.step("before-switch", () => letGo(run));
  await destination.orExit(qmp.execute("migrate-incoming", { uri }, wait));

  const source = await sourceQmp(run);
  const since = source.lastEventSeq();
  // From here on the source stops the guest and hands it over by itself, whether or not cprkit lives.
  const stopped = await switchOver(run, source, () => beginMigration(run, { uri }));
  await destination.orExit(watchCopy(run, source, since));
  await untilTakenOver(run, destination);
  await stopped();
  noteDowntime(run, timeOf(source, "STOP"), timeOf(qmp, "RESUME"));
}

/** On one host nothing else wants the bandwidth; a source of before QEMU 8.2 knows no "mode". */
function parametersOf({ options, journal }: Run): Record<string, unknown> {
  const { maxDowntimeMs, maxBandwidth } = options;
  return {
    "max-bandwidth": maxBandwidth ?? unlimited,
    ...(maxDowntimeMs === undefined ? {} : { "downtime-limit": maxDowntimeMs }),
    ...(journal.settings.mode === "normal" ? {} : { mode: "normal" }),
  };
}

/** Bytes a second. */
const unlimited = 2 ** 40;

/** Threads that copy at the same time; on two cores already faster than one (bench/copy.mjs). */
const channels = 4;

/** What would need the same setting on the other side, or is for slow networks. */
const unwanted = ["mapped-ram", "postcopy-ram", "xbzrle", "compress", "zero-copy-send", "rdma-pin-all"];

/** @throws CprkitError as `Qmp.execute` */
async function switchOff(source: Qmp, { journal, timeoutMs, options: { signal } }: Run): Promise<void> {
  const on = unwanted.filter((name) => journal.settings.capabilities[name] === true);
  if (on.length === 0) return;
  const list = on.map((capability) => ({ capability, state: false }));
  try {
    await source.execute("migrate-set-capabilities", { capabilities: list }, { signal, timeoutMs });
  } catch (cause) {
    const text = `the migration capabilities ${on.join(", ")} can't be switched off for the copy`;
    throw new CprkitError("ERR_UPDATE_REFUSED", text, { cause });
  }
}
