// Whether an older QEMU takes the devices' states as the running one describes them: both are asked for what they may
// send (-dump-vmstate), and the devices of this VM are compared.

import { constants } from "node:fs";
import { chown, mkdtemp, open, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { WaitOptions } from "../../linux/index.ts";
import { allEnded } from "../../linux/wait/all-ended.ts";
import { checkMigration, checkSideOfJson } from "../../migration/index.ts";
import { CprkitError, isCprkitError } from "../../vmstate/error.ts";
import type { Qmp } from "../qmp/client.ts";
import { qomChildren } from "../qmp/qom.ts";
import type { NewQemuCommand } from "../vm/new-qemu.ts";
import type { VmProcess } from "../vm/process.ts";
import { runProgram } from "../vm/run-program.ts";

/** A device model whose state may not fit. */
export interface StateDifference {
  /** Such as "virtio-blk-pci". */
  readonly device: string;
  readonly problems: readonly string[];
  /** The section's own version is too new: QEMU refuses it whatever is in it. */
  readonly certain: boolean;
}

/**
 * Compares what `running` may send with what `next` takes, for the device models in `types`. A dump tells what may be
 * sent, not what will be: only a section's version is certain.
 *
 * @throws CprkitError ERR_QEMU_EXITED when one of them gives no dump, ERR_TIMEOUT, ERR_BAD_STREAM when it can't be read,
 * ERR_ABORTED
 */
export async function compareDeviceStates(
  vm: VmProcess,
  [running, next]: readonly [NewQemuCommand, NewQemuCommand],
  machine: string,
  types: ReadonlySet<string>,
  options: WaitOptions,
): Promise<StateDifference[]> {
  const [here, there] = await allEnded([dump(vm, running, machine, options), dump(vm, next, machine, options)]);
  const [source, destination] = [checkSideOfJson(here), checkSideOfJson(there)];
  const ours = { ...source, sections: source.sections.filter(({ name }) => types.has(name)) };
  const findings = checkMigration(ours, destination).filter(
    ({ severity, section }) => severity === "error" && section !== "",
  );
  return [...new Set(findings.map(({ section }) => section))].map((device) => {
    const own = findings.filter(({ section }) => section === device);
    return {
      device,
      problems: own.map(({ path, message }) => (path === "" ? message : `${path}: ${message}`)),
      certain: own.some(({ code, path }) => code === "version-too-new" && path === ""),
    };
  });
}

async function dump(
  vm: VmProcess,
  { words: [program, ...words], env }: NewQemuCommand,
  machine: string,
  options: WaitOptions,
): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), "cprkit-dump-"));
  const file = join(folder, "vmstate.json");
  const empty = ["-nodefaults", "-no-user-config", "-display", "none"];
  try {
    const { uid, gid } = vm.credentials;
    if (uid !== process.geteuid?.()) await chown(folder, uid, gid);
    const command = [program, ...words, "-machine", machine, ...empty, "-dump-vmstate", file];
    await runProgram(command, "for its device states", { ...options, like: vm, env });
    // In a folder of that user's own it may be a link to another user's file.
    const opened = await open(file, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
    try {
      const { size, uid: owner } = await opened.stat();
      if (owner !== uid || size > maxDumpBytes) throw new Error(`${file} is not what QEMU wrote`);
      return await opened.readFile("utf8");
    } finally {
      await opened.close();
    }
  } catch (cause) {
    if (isCprkitError(cause)) throw cause;
    throw new CprkitError("ERR_QEMU_EXITED", `${program} -dump-vmstate wrote nothing: ${String(cause)}`, { cause });
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** QEMU 11.1's has 1.4 MB. */
const maxDumpBytes = 64 * 1024 * 1024;

/** The device models in a VM, those that the machine makes by itself among them. @throws CprkitError as `Qmp.execute` */
export async function deviceTypes(qmp: Qmp): Promise<Set<string>> {
  const types = new Set<string>();
  let paths = ["/machine"];
  while (paths.length > 0) {
    const children = (await Promise.all(paths.map((path) => qomChildren(qmp, path)))).flat();
    for (const { type } of children) types.add(type);
    paths = children.filter(({ type }) => !leaf.test(type)).map(({ path }) => path);
  }
  return types;
}

/** Lines and memory: many, and without devices below. */
const leaf = /^(irq|memory-region|.*iommu-memory-region)$/;
