// Whether an older QEMU takes the devices' states as the running one describes them: both are asked for what they may
// send (-dump-vmstate), and the devices of this VM are compared.

import { execFile } from "node:child_process";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { checkMigration, checkSideOfJson } from "../../migration/index.ts";
import { CprkitError, isCprkitError } from "../../vmstate/error.ts";
import type { Qmp } from "../qmp.ts";
import type { WaitOptions } from "../qmp-wait.ts";
import { childType } from "../vm-fds-ram.ts";

/** A device model whose state may not fit. */
export interface StateDifference {
  /** Such as "virtio-blk-pci". */
  readonly device: string;
  readonly problems: readonly string[];
}

/** How to run a QEMU for its dump. */
export interface DumpCommand {
  readonly program: string;
  /** Words before QEMU's other options. */
  readonly words?: readonly string[];
  readonly cwd: string;
  readonly env: Readonly<Record<string, string>>;
}

/**
 * Compares what `running` may send with what `next` takes, for the device models in `types`. A dump tells what may be
 * sent, not what will be, so a difference is a warning, never a proof.
 *
 * @throws CprkitError ERR_QEMU_EXITED when one of them gives no dump, ERR_BAD_STREAM when it can't be read, ERR_ABORTED
 */
export async function compareDeviceStates(
  running: DumpCommand,
  next: DumpCommand,
  machine: string,
  types: ReadonlySet<string>,
  options: WaitOptions,
): Promise<StateDifference[]> {
  const source = checkSideOfJson(await dump(running, machine, options));
  const destination = checkSideOfJson(await dump(next, machine, options));
  const ours = { ...source, sections: source.sections.filter(({ name }) => types.has(name)) };
  const findings = checkMigration(ours, destination).filter(
    ({ severity, section }) => severity === "error" && section !== "",
  );
  const problems = new Map<string, string[]>();
  for (const { section, path, message } of findings) {
    const text = path === "" ? message : `${path}: ${message}`;
    problems.set(section, [...(problems.get(section) ?? []), text]);
  }
  return [...problems].map(([device, texts]) => ({ device, problems: texts }));
}

async function dump(
  { program, words = [], cwd, env }: DumpCommand,
  machine: string,
  options: WaitOptions,
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
  const { timeoutMs: timeout = 10_000, signal } = options;
  try {
    await promisify(execFile)(program, args, {
      cwd,
      env,
      timeout,
      killSignal: "SIGKILL",
      ...(signal === undefined ? {} : { signal }),
    });
    return await readFile(file, "utf8");
  } catch (cause) {
    if (isCprkitError(cause)) throw cause;
    const said = cause instanceof Error ? cause.message.trim() : String(cause);
    if (signal?.aborted === true) throw new CprkitError("ERR_ABORTED", `aborted while asking ${program}`, { cause });
    throw new CprkitError("ERR_QEMU_EXITED", `${program} -dump-vmstate gave no answer: ${said}`, { cause });
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** The device models in a VM, those that the machine makes by itself among them. @throws CprkitError as `Qmp.execute` */
export async function deviceTypes(qmp: Qmp): Promise<Set<string>> {
  const types = new Set<string>();
  let paths = ["/machine"];
  while (paths.length > 0) {
    const lists = await Promise.all(paths.map((path) => qmp.execute("qom-list", { path })));
    paths = lists.flatMap((properties, index) =>
      properties.flatMap(({ name, type }) => {
        const child = childType(type);
        if (child === undefined) return [];
        types.add(child);
        return leaf.test(child) ? [] : [`${paths[index]}/${name}`];
      }),
    );
  }
  return types;
}

/** Lines and memory: many, and without devices below. */
const leaf = /^(irq|memory-region|.*iommu-memory-region)$/;
