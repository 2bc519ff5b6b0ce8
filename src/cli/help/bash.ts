// A completion script for bash: all words are in it, so that a TAB starts no other program. Needs nothing of the package
// bash-completion.

import type { CommandFacts, OptionFacts } from "./facts.ts";
import type { ValueKind } from "./values.ts";

/** The script. */
export function bashCompletion(commands: readonly CommandFacts[]): string {
  const names = commands.map(({ name }) => name);
  return `# bash completion for cprkit, made by: cprkit completion bash
_cprkit_pids() {
  local folder comm
  for folder in /proc/[0-9]*; do
    { read -r comm <"$folder/comm"; } 2>/dev/null || continue
    case $comm in qemu-system-* | qemu-kvm* | kvm) printf '%s\\n' "\${folder##*/}" ;; esac
  done
}

_cprkit_offer() {
  local line
  while IFS= read -r line; do COMPREPLY+=("$line"); done < <("$@" 2>/dev/null)
}

_cprkit_value() {
  case $1 in
    file) compopt -o filenames 2>/dev/null; _cprkit_offer compgen -f -- "$cur" ;;
    folder) compopt -o filenames 2>/dev/null; _cprkit_offer compgen -d -- "$cur" ;;
    program)
      if [[ $cur == */* ]]; then compopt -o filenames 2>/dev/null; _cprkit_offer compgen -f -- "$cur"
      else _cprkit_offer compgen -c -- "$cur"; fi ;;
    pid) _cprkit_offer compgen -W "$(_cprkit_pids)" -- "$cur" ;;
    words:*) _cprkit_offer compgen -W "\${1#words:}" -- "$cur" ;;
  esac
}

_cprkit() {
  local cur=\${COMP_WORDS[COMP_CWORD]} command= option= since=0 at word
  COMPREPLY=()
  for ((at = 1; at < COMP_CWORD; at++)); do
    word=\${COMP_WORDS[at]}
    case $word in
      --) return ;;
      =) ;;
      -*) option=$word since=0 ;;
      *) if [[ -z $command ]]; then command=$word; else since=$((since + 1)); fi ;;
    esac
  done
  # --option=value comes as three words.
  [[ $cur == = ]] && cur=
  if [[ -z $command || ($command == help && $since == 0) ]]; then
    case $cur in
      -*) _cprkit_offer compgen -W "--help --version" -- "$cur" ;;
      *) _cprkit_offer compgen -W "${[...names, "help"].join(" ")}" -- "$cur" ;;
    esac
    return
  fi
  local kind= more= options= words=
  case $command in
${commands.map(commandCase).join("\n")}
    *) return ;;
  esac
  if [[ -n $kind && $cur != -* && ($since == 0 || -n $more) ]]; then
    _cprkit_value "$kind"
    return
  fi
  case $cur in
    -*) _cprkit_offer compgen -W "$options" -- "$cur" ;;
    *) if [[ -n $words ]]; then _cprkit_value "$words"; else _cprkit_offer compgen -W "$options" -- "$cur"; fi ;;
  esac
}
complete -F _cprkit cprkit
`;
}

function commandCase({ name, options, words }: CommandFacts): string {
  const own = words.map(({ kind }) => kind).find((kind) => kind !== "nothing");
  const cases = options.flatMap((option) => optionCase(option) ?? []);
  return [
    `    ${name})`,
    `      options="${options.map(({ long, short }) => long ?? short).join(" ")}"`,
    ...(own === undefined ? [] : [`      words="${kindText(own)}"`]),
    ...(cases.length === 0 ? [] : ["      case $option in", ...cases, "      esac"]),
    "      ;;",
  ].join("\n");
}

function optionCase({ short, long, value }: OptionFacts): string | undefined {
  if (value === undefined) return undefined;
  const names = [short, long].filter((each) => each !== undefined).join(" | ");
  const more = value.isVariadic ? " more=1" : "";
  return `        ${names}) kind="${kindText(value.kind)}"${more} ;;`;
}

function kindText(kind: ValueKind): string {
  return typeof kind === "string" ? kind : `words:${kind.words.join(" ")}`;
}
