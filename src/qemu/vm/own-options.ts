// The command line of a running QEMU taken apart. Where an option is in no list of ours its own program says whether it
// takes a value: one that was thought to would swallow the word after it.

import { readFileSync } from "node:fs";
import { resolve } from "node:path";
import type { WaitOptions } from "../../linux/index.ts";
import { expandOptions } from "../command-line/config-file.ts";
import { areKnownOptions, type CommandOption, parseOptions } from "../command-line/parse.ts";
import { programWords } from "../command-line/program-words.ts";
import { outside } from "../namespaces/paths.ts";
import { notStartable } from "./launcher.ts";
import type { VmProcess } from "./process.ts";
import { runProgram } from "./run-program.ts";

/**
 * The options of a running QEMU, with those of its -readconfig files in their places. If one is none of those that QEMU 7.2
 * to 11.1 have, its own program is asked for its help, with the rights that it runs with (a start of some 30 ms); one that can't be
 * asked is taken to have no others. Never throws.
 */
export async function readOwnOptions(vm: VmProcess, options: WaitOptions = {}): Promise<readonly CommandOption[]> {
  const [, ...loaded] = programWords(vm);
  const words = vm.argv.slice(1 + loaded.length);
  if (areKnownOptions(words) || notStartable(vm).length > 0) return expanded(vm, parseOptions(words));
  try {
    const command = [`/proc/${vm.identity.pid}/exe`, ...loaded, "-help"];
    const help = await runProgram(command, "for its -help", { timeoutMs: 5_000, ...options, like: vm, env: vm.env });
    return expanded(vm, parseOptions(words, optionsWithoutValue(help)));
  } catch {
    return expanded(vm, parseOptions(words));
  }
}

/** With what is in the files that it names: as they are now, which checkStartFiles compares with the VM's start. */
function expanded(vm: VmProcess, options: readonly CommandOption[]): readonly CommandOption[] {
  return expandOptions(options, (path) => {
    try {
      return readFileSync(outside(vm, resolve(vm.cwd, path)), "utf8");
    } catch {
      return undefined;
    }
  });
}

/**
 * The names of options that take no value, by QEMU's `-help`: behind such a name comes nothing, or its description in
 * the second column. Behind any other comes the form of its value, even if in another column ("-dtb    file").
 */
export function optionsWithoutValue(help: string): Set<string> {
  const names = new Set<string>();
  for (const line of help.split("\n")) {
    const [, before = "", name = "", text = ""] = /^(--?([\w-]+)(?: {2,}|$))(.*)$/.exec(line) ?? [];
    // "-M              as -machine": another name of an option with a value.
    if (name === "" || (text !== "" && before.length < descriptionColumn) || text.startsWith("as -")) continue;
    names.add(name);
  }
  return names;
}

/** QEMU 7.2 to 11.1 qemu-options.hx. */
const descriptionColumn = 16;
