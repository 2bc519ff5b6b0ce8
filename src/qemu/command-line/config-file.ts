// The files of -readconfig (QEMU 10.0 util/qemu-config.c): sections of key = "value", each of which is one option of the
// command line, in the place of -readconfig. And -set, which changes an option before it.

import { type CommandOption, formatKeyValues, type KeyValues, parseKeyValues, withValue } from "./parse.ts";

/** Names of sections that are not the name of their option. */
const renamed: Readonly<Record<string, string>> = { memory: "m", "smp-opts": "smp", "boot-opts": "boot" };

/** Those whose keys an option takes, too (QEMU 7.2 to 11.1, the lists of each option). */
const known = new Set(
  (
    "accel action add-fd boot-opts chardev device drive fsdev fw_cfg global icount iscsi machine memory mon msg name " +
    "netdev nic numa object overcommit rtc sandbox semihosting-config smp-opts tpmdev trace"
  ).split(" "),
);

/** @returns undefined for what QEMU would not take, or what no option of the command line stands for */
export function parseConfigFile(text: string): CommandOption[] | undefined {
  const sections: { readonly group: string; readonly parts: (readonly [string, string])[] }[] = [];
  for (const line of text.split("\n")) {
    if (/^\s*(#.*)?$/.test(line)) continue;
    const [, group, id] = /^\s*\[(\w[\w-]*)(?:\s+"([^"]+)")?\]\s*$/.exec(line) ?? [];
    if (group !== undefined) {
      if (!known.has(group)) return undefined;
      sections.push({ group, parts: id === undefined ? [] : [["id", id]] });
      continue;
    }
    const [, key, value] = /^\s*([\w.-]+)\s*=\s*"([^"]*)"\s*$/.exec(line) ?? [];
    const section = sections.at(-1);
    if (key === undefined || value === undefined || section === undefined) return undefined;
    section.parts.push([key, value]);
  }
  return sections.flatMap(({ group, parts }) =>
    parts.length === 0 ? [] : [{ name: renamed[group] ?? group, value: formatKeyValues(implied(parts)) }],
  );
}

/** In an option the kind comes first, and may go without its key. */
const kinds = new Set(["driver", "qom-type", "backend", "type"]);

function implied(parts: readonly (readonly [string, string])[]): KeyValues {
  return [...parts.filter(([key]) => kinds.has(key)), ...parts.filter(([key]) => !kinds.has(key))];
}

/**
 * The options with those of each -readconfig file in its place, and with what -set says.
 *
 * @param read the text of a file that an option names; undefined if it can't be read
 */
export function expandOptions(
  options: readonly CommandOption[],
  read: (path: string) => string | undefined,
): CommandOption[] {
  const expanded: CommandOption[] = [];
  for (const option of options) {
    const { name, value = "" } = option;
    if (name === "set" && applySet(expanded, value)) continue;
    const text = name === "readconfig" ? read(value) : undefined;
    // What is not understood stays as it is: it is a finding.
    expanded.push(...((text === undefined ? undefined : parseConfigFile(text)) ?? [option]));
  }
  return expanded;
}

/** "GROUP.ID.KEY=VALUE". False when the option is not there, or is JSON, which -set does not change. */
function applySet(options: CommandOption[], value: string): boolean {
  const [, group = "", id, key, text] = /^([^.=]+)\.([^.=]+)\.([^=]+)=(.*)$/s.exec(value) ?? [];
  if (key === undefined || text === undefined) return false;
  const at = options.findIndex(
    (each) =>
      each.name === (renamed[group] ?? group) &&
      each.value?.startsWith("{") === false &&
      parseKeyValues(each.value).some(([name, own]) => name === "id" && own === id),
  );
  const found = options[at];
  if (found?.value === undefined) return false;
  options[at] = { name: found.name, value: formatKeyValues(withValue(parseKeyValues(found.value), key, text)) };
  return true;
}
