// What the new QEMU has: machine types and modes by its monitor, device models, object types and accelerators by its
// help texts.

import { execFile } from "node:child_process";
import { basename, resolve } from "node:path";
import { promisify } from "node:util";
import type { WaitOptions } from "../../linux/index.ts";
import { CprkitError, isCprkitError } from "../../vmstate/error.ts";
import { prefixOf } from "../command-line/derive.ts";
import { probeBinary, type QemuAbilities } from "./binary.ts";
import type { VmProcess } from "./process.ts";

/** How the QEMU that shall take over is started. */
export interface NewQemuCommand {
  /** The program, with what stands before it when a dynamic loader runs it. */
  readonly words: readonly [string, ...string[]];
  readonly env: Readonly<Record<string, string>>;
}

/** The QEMU that shall take over. */
export interface NewQemu extends NewQemuCommand {
  /** The program alone, for people. */
  readonly program: string;
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

/** The words of a running QEMU's command line up to and with its program: several when a dynamic loader runs it. */
export function programWords({ argv, program }: VmProcess): readonly [string, ...string[]] {
  const [first = program, ...rest] = argv;
  if (!/^ld(-linux[\w.-]*|-musl[\w.-]*|64)?\.so/.test(basename(program))) return [first];
  let end = 0;
  while ((rest[end] ?? "").startsWith("--")) end += loaderOptionsWithValue.has(rest[end] ?? "") ? 2 : 1;
  return [first, ...rest.slice(0, end + 1)];
}

/** ld.so(8). */
const loaderOptionsWithValue = new Set(["--library-path", "--preload", "--argv0", "--audit", "--inhibit-rpath"]);

/**
 * How to start the QEMU that shall take over, and its environment.
 *
 * @param asked what the user named: a path is meant from our folder, a bare name is looked for in PATH. Without it the
 * new QEMU comes from where the running one came from.
 */
export function newQemuCommand(vm: VmProcess, asked: string | undefined): NewQemuCommand {
  if (asked === undefined) {
    const [first, ...rest] = programWords(vm);
    return { words: [first.includes("/") ? resolve(vm.cwd, first) : vm.program, ...rest], env: vm.env };
  }
  const { QEMU_MODULE_DIR: modules, ...rest } = vm.env;
  // Modules of the old binary do not fit the new one.
  const prefix = prefixOf(vm.program);
  const isOld = modules !== undefined && prefix !== "/" && modules.startsWith(`${prefix}/`);
  return { words: [asked.includes("/") ? resolve(asked) : asked], env: isOld ? rest : vm.env };
}

/**
 * Starts the program a few times, each for a moment and without a guest, in the running VM's
 * folder. A program that can't be used is an answer, not an error.
 *
 * @throws CprkitError ERR_ABORTED
 */
export async function askNewQemu(command: NewQemuCommand, cwd: string, options: WaitOptions): Promise<NewQemu> {
  const { words, env } = command;
  const program = words.at(-1) ?? words[0];
  try {
    const abilities = await probeBinary(words, { ...options, cwd, env });
    const devices = await helpText(command, "device", cwd, options);
    const objects = await helpText(command, "object", cwd, options);
    const accelerators = await helpText(command, "accel", cwd, options);
    const indented = (text: string) => new Set([...text.matchAll(/^\s*([\w.-]+)$/gm)].map(([, name]) => name ?? ""));
    return {
      ...command,
      program,
      said: {
        abilities,
        devices: new Set([...devices.matchAll(/(?:^name|, alias) "([^"]+)"/gm)].map(([, name]) => name ?? "")),
        objects: indented(objects),
        accelerators: indented(accelerators),
      },
    };
  } catch (error) {
    if (options.signal?.aborted === true || !isCprkitError(error)) throw error;
    return { ...command, program, said: { error } };
  }
}

async function helpText(
  { words: [program, ...words], env }: NewQemuCommand,
  option: string,
  cwd: string,
  options: WaitOptions,
): Promise<string> {
  try {
    const { stdout } = await promisify(execFile)(program, [...words, `-${option}`, "help"], {
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
