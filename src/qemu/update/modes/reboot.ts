// cpr-reboot: the state goes through a file. RAM in a named shared file stays where it is (x-ignore-shared); all other
// RAM is copied into that file. The new QEMU has built its machine before the guest is stopped, here too.

import { CprkitError } from "../../../vmstate/error.ts";
import { beginMigration, setSource, sourceQmp } from "../beside.ts";
import { askPeer } from "../peers/peer.ts";
import { startReady } from "../ready.ts";
import { meetingPlace, type Run } from "../run.ts";
import { noteDowntime, switchOver, timeOf, untilTakenOver, waitFor } from "../switch-over.ts";

const capabilities = ["events", "x-ignore-shared"];

/** Runs the update up to the moment when the destination has the guest. @throws whatever went wrong; then settle */
export async function runReboot(run: Run): Promise<void> {
  const { timeoutMs, options } = run;
  const { signal } = options;
  const uri = `file:${meetingPlace(run).there("vm")}`;
  run.fds = [];
  await run.step("source-set", () => setSource(run, { mode: "cpr-reboot" }, capabilities));

  const { destination, qmp } = await startReady(run, capabilities, { mode: "cpr-reboot" });

  const source = await sourceQmp(run);
  const stopped = await switchOver(run, source, () => beginMigration(run, { uri }));
  await destination.orExit(waitFor(run, [source], () => isSaved(run)));
  await stopped();
  await run.step("saved");
  await run.step("loading", () => destination.orExit(qmp.execute("migrate-incoming", { uri }, { signal, timeoutMs })));
  await untilTakenOver(run, destination);
  noteDowntime(run, timeOf(source, "STOP"), timeOf(qmp, "RESUME"));
}

async function isSaved(run: Run): Promise<boolean> {
  const here = await askPeer(run.source, run.timeoutMs);
  if (!here.alive) throw new CprkitError("ERR_QEMU_EXITED", "the old QEMU has ended while it saved its state");
  if (here.migration === "failed" || here.migration === "cancelled") {
    throw new CprkitError(
      "ERR_UPDATE_FAILED",
      `the old QEMU could not save its state: ${here.error ?? here.migration}`,
    );
  }
  // "completed" comes a little before the run state changes.
  return here.migration === "completed" && here.run === "postmigrate";
}
