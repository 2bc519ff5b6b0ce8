// A migration to a file that is still under way whenever a test looks, however busy the machine is.
import { closeSync, openSync, readdirSync, readlinkSync, writeSync } from "node:fs";
import type { Qmp } from "../../src/qemu/qmp/client.ts";

/** So slow, and asked to stop the guest so briefly, that it does not end by itself. */
const slow = { mode: "normal", "max-bandwidth": 4096, "downtime-limit": 1, "avail-switchover-bandwidth": 1 };

/** QEMU's defaults, but as fast as can be. */
export const usualSpeed = { "max-bandwidth": 2 ** 40, "downtime-limit": 300, "avail-switchover-bandwidth": 0 };

/** Begins it. Returns when QEMU says that it is active. */
export async function slowMigration(qmp: Qmp, pid: number, path: string): Promise<void> {
  fillRam(pid);
  await qmp.execute("migrate-set-parameters", slow);
  await qmp.execute("migrate", { uri: `file:${path}` });
  while ((await qmp.execute("query-migrate")).status !== "active") await qmp.execute("query-status");
}

/**
 * Fills 8 MiB of the guest's RAM, from 16 MiB on, where the counting guest has nothing: a page of zeros costs a
 * migration next to nothing, so that of an empty guest would be over at once.
 */
export function fillRam(pid: number): void {
  const folder = `/proc/${pid}/fd`;
  const fd = readdirSync(folder).find((name) =>
    /(memfd:memory-backend-memfd|\/ram)\b/.test(readlinkSync(`${folder}/${name}`)),
  );
  if (fd === undefined) throw new Error(`process ${pid} has no file of RAM`);
  const ram = openSync(`${folder}/${fd}`, "r+");
  writeSync(ram, Buffer.alloc(8 << 20, "cprkit"), 0, 8 << 20, 16 << 20);
  closeSync(ram);
}
