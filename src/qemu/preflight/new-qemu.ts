// What the new QEMU has: machine types and modes by its monitor, device models, object types and accelerators by its
// help texts.

import { execFile } from "node:child_process";
import { resolve } from "node:path";
import { promisify } from "node:util";
import { CprkitError, isCprkitError } from "../../vmstate/error.ts";
import { probeBinary, type QemuAbilities } from "../binary.ts";
import { prefixOf } from "../command-line-derive.ts";
import type { WaitOptions } from "../qmp-wait.ts";
import type { VmProcess } from "../vm-process.ts";

/** How the QEMU that shall take over is started. */
export interface NewQemuCommand {
  readonly program: string;
  readonly env: Readonly<Record<string, string>>;
}

/** The QEMU that shall take over. */
export interface NewQemu extends NewQemuCommand {
  /** What it said of itself, or why it could not be asked. */
  readonly said: NewQemuAnswer | { readonly error: CprkitError };
}

export interface NewQemuAnswer {
  readonly abilities: QemuAbilities;
  /** Names and aliases for -device. */
  readonly devices: ReadonlySet<string>;
  /** Names for -object. */
  readonly objects: ReadonlySet<string>;
  /** Names for -accel. */
  readonly accelerators: ReadonlySet<string>;
}

/**
 * The program that shall take over, and its environment.
 *
 * @param asked what the user named: a path is meant from our folder, a bare name is looked for in PATH. Without it the
 * new QEMU comes from where the running one came from.
 */
export function newQemuCommand(vm: VmProcess, asked: string | undefined): NewQemuCommand {
  if (asked === undefined) {
    const [first = ""] = vm.argv;
    return { program: first.includes("/") ? resolve(vm.cwd, first) : vm.program, env: vm.env };
  }
  const { QEMU_MODULE_DIR: modules, ...rest } = vm.env;
  // Modules of the old binary do not fit the new one.
  const prefix = prefixOf(vm.program);
  const isOld = modules !== undefined && prefix !== "/" && modules.startsWith(`${prefix}/`);
  return { program: asked.includes("/") ? resolve(asked) : asked, env: isOld ? rest : vm.env };
}

/**
 * Starts the program a few times, each for a moment and without a guest, in the running VM's
 * folder. A program that can't be used is an answer, not an error.
 *
 * @throws CprkitError ERR_ABORTED
 */
export async function askNewQemu(command: NewQemuCommand, cwd: string, options: WaitOptions): Promise<NewQemu> {
  const { program, env } = command;
  try {
    const abilities = await probeBinary([program], { ...options, cwd, env });
    const devices = await helpText(command, "device", cwd, options);
    const objects = await helpText(command, "object", cwd, options);
    const accelerators = await helpText(command, "accel", cwd, options);
    const indented = (text: string) => new Set([...text.matchAll(/^\s*([\w.-]+)$/gm)].map(([, name]) => name ?? ""));
    return {
      ...command,
      said: {
        abilities,
        devices: new Set([...devices.matchAll(/(?:^name|, alias) "([^"]+)"/gm)].map(([, name]) => name ?? "")),
        objects: indented(objects),
        accelerators: indented(accelerators),
      },
    };
  } catch (error) {
    if (options.signal?.aborted === true || !isCprkitError(error)) throw error;
    return { ...command, said: { error } };
  }
}

async function helpText(
  { program, env }: NewQemuCommand,
  option: string,
  cwd: string,
  options: WaitOptions,
): Promise<string> {
  try {
    const { stdout } = await promisify(execFile)(program, [`-${option}`, "help"], {
      cwd,
      env,
      timeout: options.timeoutMs ?? 10_000,
      killSignal: "SIGKILL",
      maxBuffer: 16 * 1024 * 1024,
      ...(options.signal === undefined ? {} : { signal: options.signal }),
    });
    return stdout;
  } catch (cause) {
    if (options.signal?.aborted === true) {
      throw new CprkitError("ERR_ABORTED", `aborted while asking ${program} for its -${option} help`, { cause });
    }
    const said = cause instanceof Error ? cause.message.trim() : String(cause);
    throw new CprkitError("ERR_QEMU_EXITED", `${program} -${option} help failed: ${said}`, { cause });
  }
}
