// A completion script for fish.

import type { CommandFacts, OptionFacts } from "./facts.ts";
import type { ValueKind } from "./values.ts";

/** The script. */
export function fishCompletion(commands: readonly CommandFacts[]): string {
  const lines = commands.flatMap((command) => [
    `complete -c cprkit -n __fish_use_subcommand -f -a ${command.name} -d ${quoted(command.description)}`,
    ...command.options.map((option) => `complete -c cprkit ${seen(command)} ${optionWords(option)}`),
    ...wordsLine(command),
  ]);
  return `# fish completion for cprkit, made by: cprkit completion fish
function __cprkit_pids
    for folder in /proc/[0-9]*
        read -l comm <$folder/comm 2>/dev/null
        and string match -qr '^(qemu-system-|qemu-kvm|kvm$)' -- $comm
        and string replace /proc/ '' $folder
    end
end

complete -c cprkit -n __fish_use_subcommand -f -a help -d 'Show the help of a command'
complete -c cprkit -n __fish_use_subcommand -f -s h -l help -d 'Show the help'
complete -c cprkit -n __fish_use_subcommand -f -s V -l version -d 'Show the version'
complete -c cprkit -n '__fish_seen_subcommand_from help' -f -a ${quoted(commands.map(({ name }) => name).join(" "))}
${lines.join("\n")}
`;
}

function seen({ name }: CommandFacts): string {
  return `-n '__fish_seen_subcommand_from ${name}'`;
}

function optionWords({ short, long, description, value }: OptionFacts): string {
  return [
    ...(short === undefined ? [] : [`-s ${short.slice(1)}`]),
    ...(long === undefined ? [] : [`-l ${long.slice(2)}`]),
    ...(value === undefined ? [] : [offer(value.kind)]),
    `-d ${quoted(description)}`,
  ].join(" ");
}

function wordsLine(command: CommandFacts): string[] {
  const kind = command.words.map((word) => word.kind).find((each) => each !== "nothing");
  if (kind === "file") return [`complete -c cprkit ${seen(command)} -F`];
  const words = kind === undefined || typeof kind === "string" ? "" : ` -a ${quoted(kind.words.join(" "))}`;
  return [`complete -c cprkit ${seen(command)} -f${words}`];
}

/** -r: a value follows; -F: files, -x: nothing but these. */
function offer(kind: ValueKind): string {
  if (typeof kind !== "string") return `-x -a ${quoted(kind.words.join(" "))}`;
  return {
    file: "-r -F",
    folder: "-x -a '(__fish_complete_directories)'",
    program: "-r -F -a '(__fish_complete_command)'",
    pid: "-x -a '(__cprkit_pids)'",
    nothing: "-x",
  }[kind];
}

function quoted(text: string): string {
  return `'${text.replace(/['\\]/g, "\\$&")}'`;
}
