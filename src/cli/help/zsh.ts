// A completion script for zsh: a function for fpath, or to be sourced.

import type { CommandFacts, OptionFacts, ValueFacts } from "./facts.ts";
import type { ValueKind } from "./values.ts";

/** The script. */
export function zshCompletion(commands: readonly CommandFacts[]): string {
  return `#compdef cprkit
# zsh completion for cprkit, made by: cprkit completion zsh
_cprkit_pids() {
  local -a pids
  local folder comm
  for folder in /proc/<->(N); do
    read -r comm <$folder/comm || continue
    case $comm in qemu-system-*|qemu-kvm*|kvm) pids+=(\${folder:t}) ;; esac
  done 2>/dev/null
  compadd -a pids
}

_cprkit() {
  local context state state_descr line curcontext=$curcontext
  typeset -A opt_args
  local -a commands=(
${commands.map(({ name, description }) => `    ${quoted(`${name}:${description.replaceAll(":", "\\:")}`)}`).join("\n")}
    'help:Show the help of a command'
  )
  _arguments -C \\
    '(- *)'{-h,--help}'[show the help]' \\
    '(- *)'{-V,--version}'[show the version]' \\
    '1: :->command' \\
    '*:: :->rest'
  case $state in
    command) _describe -t commands 'cprkit command' commands ;;
    rest)
      curcontext="\${curcontext%:*}-$words[1]:"
      case $words[1] in
        help) _describe -t commands 'cprkit command' commands ;;
${commands.map(commandCase).join("\n")}
      esac ;;
  esac
}
if [[ $zsh_eval_context[-1] == loadautofunc ]]; then _cprkit "$@"; else compdef _cprkit cprkit; fi
`;
}

function commandCase({ name, options, words }: CommandFacts): string {
  const specs = [...options.flatMap(optionSpecs), ...words.map(wordSpec)];
  return `        ${name}) _arguments -S \\\n${specs.map((spec) => `          ${spec}`).join(" \\\n")} ;;`;
}

function optionSpecs({ short, long, description, value }: OptionFacts): string[] {
  const names = [short, long].filter((each) => each !== undefined);
  const text = `[${description.replace(/[[\]\\]/g, "\\$&")}]`;
  const behind = value === undefined ? "" : `:${value.name}:${action(value.kind)}`;
  const often = value?.isVariadic === true ? "*" : "";
  const others = often === "" && names.length > 1 ? `(${names.join(" ")})` : "";
  return names.map((each) => quoted(`${others}${often}${each}${text}${behind}`));
}

function wordSpec({ name, kind, isRequired, isVariadic }: ValueFacts): string {
  // An optional one has two colons.
  return quoted(`${isVariadic ? "*:" : isRequired ? ":" : "::"}${name}:${action(kind)}`);
}

function action(kind: ValueKind): string {
  if (typeof kind !== "string") return `(${kind.words.join(" ")})`;
  return {
    file: "_files",
    folder: "_files -/",
    program: "{_command_names -e; _files}",
    pid: "_cprkit_pids",
    nothing: " ",
  }[kind];
}

function quoted(text: string): string {
  return `'${text.replaceAll("'", "'\\''")}'`;
}
