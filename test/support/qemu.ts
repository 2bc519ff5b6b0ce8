// For tests that need real QEMU: finds it, chooses the accelerator, and says why when a test can't run.
import { existsSync } from "node:fs";
import { join } from "node:path";
import { afterAll, describe } from "vitest";
import { hasLinuxGuest } from "../guest/linux-guest.ts";
import { cacheDir } from "./cache-dir.ts";
import { type Accel, killAllVms, startVm } from "./vm.ts";

export type QemuVersion = "7.2" | "10.0" | "11.1";

/** Those that know CPR. */
export type CprQemu = Exclude<QemuVersion, "7.2">;

/** The paths of the QEMU programs that a suite asked for. */
export type QemuPaths<Versions extends QemuVersion> = Readonly<Record<Versions, string>>;

/**
 * Path of the QEMU program, or undefined when it was not fetched. CPRKIT_QEMU_10_0 and CPRKIT_QEMU_11_1 name another.
 *
 * @throws {Error} the variable names a file that does not exist
 */
function findQemu(version: QemuVersion): string | undefined {
  const variable = `CPRKIT_QEMU_${version.replace(".", "_")}`;
  const named = process.env[variable];
  if (named) {
    if (!existsSync(named)) throw new Error(`${variable} names ${named}, which does not exist`);
    return named;
  }
  const fetched = join(cacheDir(), "qemu", version, "qemu-system-x86_64");
  return existsSync(fetched) ? fetched : undefined;
}

/**
 * A suite that needs these QEMU versions. Where one is missing the suite is skipped and the reason printed; with
 * CPRKIT_REQUIRE_QEMU=1 it fails. Every VM of startVm is ended after the suite.
 *
 * @param needs.linux the suite needs the guest kernel as well
 */
export function describeQemu<const Versions extends QemuVersion>(
  name: string,
  versions: readonly Versions[],
  body: (qemu: QemuPaths<Versions>) => void,
  needs: { readonly linux?: boolean } = {},
): void {
  const found = versions.map((version) => [version, findQemu(version)] as const);
  const missing = found.filter(([, path]) => path === undefined).map(([version]) => `QEMU ${version}`);
  if (needs.linux && !hasLinuxGuest()) missing.push("the guest kernel");
  if (missing.length === 0) {
    describe(name, () => {
      afterAll(killAllVms);
      // Every path was just found, and `versions` lists exactly the keys of the record.
      body(Object.fromEntries(found) as QemuPaths<Versions>);
    });
    return;
  }
  const reason = `${missing.join(" and ")} missing: run "npm run qemu"`;
  if (process.env["CPRKIT_REQUIRE_QEMU"] === "1") {
    describe(name, (): never => {
      throw new Error(`${reason} (CPRKIT_REQUIRE_QEMU=1 makes this a failure)`);
    });
    return;
  }
  console.warn(`skipped: ${name}: ${reason}`);
  describe.skip(`${name} [${reason}]`, () =>
    body(Object.fromEntries(versions.map((v) => [v, ""])) as QemuPaths<Versions>));
}

const accels = new Map<string, Promise<Accel>>();

/**
 * The accelerator for the counting guests on this machine: KVM where a short trial counts under it, else TCG. Tried
 * once a process and QEMU. A Linux guest always takes TCG: a limited KVM starts firmware but no Linux.
 */
export function usableAccel(qemu: string): Promise<Accel> {
  let accel = accels.get(qemu);
  if (accel === undefined) {
    accel = tryKvm(qemu).then((works) => (works ? "kvm" : "tcg"));
    accels.set(qemu, accel);
  }
  return accel;
}

async function tryKvm(qemu: string): Promise<boolean> {
  if (!existsSync("/dev/kvm")) return false;
  const vm = await startVm({ qemu, machine: "microvm", accel: "kvm", guest: "firmware", memoryMb: 4 });
  try {
    const exit = vm.exited.then(() => Promise.reject(new Error("QEMU exited")));
    exit.catch(() => {});
    await Promise.race([vm.serial.waitForCount(3, 5000), exit]);
    return true;
  } catch {
    return false;
  } finally {
    await vm.kill();
  }
}
