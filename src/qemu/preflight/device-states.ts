// Whether an older QEMU takes the devices' states as the running one describes them: both are asked for what they may
// send (-dump-vmstate), and the devices of this VM are compared.

import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { WaitOptions } from "../../linux/index.ts";
import { checkMigration, checkSideOfJson } from "../../migration/index.ts";
import { CprkitError, isCprkitError } from "../../vmstate/error.ts";
import type { Qmp } from "../qmp/client.ts";
import { qomChildren } from "../qmp/qom.ts";
import type { NewQemuCommand } from "../vm/new-qemu.ts";
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
  running: NewQemuCommand,
  next: NewQemuCommand,
  machine: string,
  types: ReadonlySet<string>,
  options: WaitOptions & { readonly cwd: string },
): Promise<StateDifference[]> {
  const [here, there] = await Promise.all([dump(running, machine, options), dump(next, machine, options)]);
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
  { words: [program, ...words], env }: NewQemuCommand,
  machine: string,
  options: WaitOptions & { readonly cwd: string },
): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), "cprkit-dump-"));
  const file = join(folder, "vmstate.json");
  const args = [
    ...words,
    "-machine",
    machine,
    "-nodefaults",
    "-no-user-config",
    "-display",
    "none",
    "-dump-vmstate",
    file,
  ];
  try {
    await runProgram([program, ...args], "for its device states", { ...options, env });
    return await readFile(file, "utf8");
  } catch (cause) {
    if (isCprkitError(cause)) throw cause;
    throw new CprkitError("ERR_QEMU_EXITED", `${program} -dump-vmstate wrote nothing: ${String(cause)}`, { cause });
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

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
