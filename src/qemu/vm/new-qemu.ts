// The QEMU that is to take over: how it is started, and what it has.

import { resolve } from "node:path";
import type { WaitOptions } from "../../linux/index.ts";
import { type CprkitError, isCprkitError } from "../../vmstate/error.ts";
import { prefixOf } from "../command-line/derive.ts";
import { programWords } from "../command-line/program-words.ts";
import { type BinaryAnswer, probeBinary } from "./probe.ts";
import type { VmProcess } from "./process.ts";

/** How the QEMU that is to take over is started. */
export interface NewQemuCommand {
  /** The program, and before it the dynamic loader with its options, if one runs it. */
  readonly words: readonly [string, ...string[]];
  readonly env: Readonly<Record<string, string>>;
}

/** The QEMU that is to take over. */
export interface NewQemu extends NewQemuCommand {
  /** The program alone, for people. */
  readonly program: string;
  /** What it said of itself, or why it could not be asked. */
  readonly said: BinaryAnswer | { readonly error: CprkitError };
}

/**
 * How to start the QEMU that is to take over, and its environment.
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

/** What binaries have said, by the object that several updates share. */
const answers = new WeakMap<object, Map<string, Promise<BinaryAnswer>>>();

/**
 * Starts the program for a moment, without a guest, in the running VM's folder and with its rights. A program that can't
 * be used is an answer, not an error.
 *
 * @throws CprkitError ERR_ABORTED
 */
export async function askNewQemu(
  command: NewQemuCommand,
  running: VmProcess,
  options: WaitOptions & { readonly sharing?: object | undefined },
): Promise<NewQemu> {
  const { words, env } = command;
  const { sharing, ...wait } = options;
  const program = words.at(-1) ?? words[0];
  const ask = () => probeBinary(words, { ...wait, like: running, env });
  try {
    return {
      ...command,
      program,
      said: await (sharing === undefined ? ask() : once(sharing, command, running, ask)),
    };
  } catch (error) {
    if (options.signal?.aborted === true || !isCprkitError(error)) throw error;
    return { ...command, program, said: { error } };
  }
}

/**
 * An answer counts for what was started in the same way with the same rights. A failure does not: it may be that of the
 * other VM, whose update was given up meanwhile.
 */
function once(
  sharing: object,
  { words, env }: NewQemuCommand,
  { credentials, cwd, root, namespaces, identity }: VmProcess,
  ask: () => Promise<BinaryAnswer>,
): Promise<BinaryAnswer> {
  const matters = Object.entries(env).filter(([name]) => !ofOneVm.test(name));
  const folder = words[0].startsWith("/") ? [] : [cwd];
  const place = namespaces.length === 0 ? [] : [root, identity.pid];
  const asText = (_key: string, value: unknown) => (typeof value === "bigint" ? value.toString(16) : value);
  const key = JSON.stringify([words, matters.toSorted(), credentials, folder, place], asText);
  const binaries = answers.get(sharing) ?? new Map<string, Promise<BinaryAnswer>>();
  answers.set(sharing, binaries);
  const asked = binaries.get(key)?.catch(ask) ?? ask();
  binaries.set(key, asked);
  asked.catch(() => {
    if (binaries.get(key) === asked) binaries.delete(key);
  });
  return asked;
}

/** Variables that differ from VM to VM and not in what the program can do: of shells, systemd, libvirt, and our own marks. */
const ofOneVm =
  /^(_|PWD|OLDPWD|SHLVL|HOME|XDG_\w+|INVOCATION_ID|JOURNAL_STREAM|SYSTEMD_EXEC_PID|MEMORY_PRESSURE_\w+|CPRKIT_\w+)$/;
