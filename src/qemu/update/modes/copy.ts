// copy: a live migration on the same host, into a QEMU whose memory CPR can hand over from then on. The guest runs while
// its RAM is copied; QEMU itself stops it when what is left fits into the downtime that is allowed.

import { beginMigration, setSource, sourceQmp } from "../beside.ts";
import { startReady } from "../ready.ts";
import { meetingPlace, type Run } from "../run.ts";
import { noteDowntime, switchOver, timeOf, untilTakenOver } from "../switch-over.ts";
import { watchCopy } from "./copy-progress.ts";

/** Runs the update up to the moment when the destination has the guest. @throws whatever went wrong; then settle */
export async function runCopy(run: Run): Promise<void> {
  const { prepared, timeoutMs, options } = run;
  const wait = { signal: options.signal, timeoutMs };
  const uri = `unix:${meetingPlace(run).there("m")}`;
  run.fds = [];
  const both = ["events", "return-path", ...(prepared.ramInFiles ? ["x-ignore-shared"] : [])];
  const parameters = parametersOf(run);
  await run.step("source-set", () => setSource(run, parameters, [...both, "auto-converge"], unwanted));

  const { destination, qmp } = await startReady(run, both, {});
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

/** A source of before QEMU 8.2 knows no "mode". */
function parametersOf({ options, journal }: Run): Record<string, unknown> {
  const { maxDowntimeMs, maxBandwidth } = options;
  return {
    ...(maxBandwidth === undefined ? {} : { "max-bandwidth": maxBandwidth }),
    ...(maxDowntimeMs === undefined ? {} : { "downtime-limit": maxDowntimeMs }),
    ...(journal.settings.mode === "normal" ? {} : { mode: "normal" }),
  };
}

/**
 * What would need the same setting on the other side, or is for slow networks. And multifd, although it copies faster: if
 * the new QEMU dies while the guest stands still, the old one (10.0.2) waits for its channels for ever, with the lock that
 * its monitor needs (multifd_send_sync_main).
 */
const unwanted = ["multifd", "mapped-ram", "postcopy-ram", "xbzrle", "compress", "zero-copy-send", "rdma-pin-all"];
