// Members of an option set or taken away, in the form that the option has: key=value or JSON.

import { formatKeyValues, parseKeyValues, withValue } from "./parse.ts";

export function isMachine(name: string): boolean {
  return name === "machine" || name === "M";
}

/** The option's value with one member set. */
export function withMember(value: string, key: string, text: string): string {
  if (!value.startsWith("{")) return formatKeyValues(withValue(parseKeyValues(value), key, text));
  const member = text === "on" ? true : text === "off" ? false : text;
  return formatJson({ ...parseJson(value), [key]: member });
}

/** The option's value without one member; "" when nothing is left. */
export function withoutMember(value: string, key: string): string {
  if (!value.startsWith("{")) return formatKeyValues(parseKeyValues(value).filter(([name]) => name !== key));
  const { [key]: _, ...rest } = parseJson(value);
  return formatJson(rest);
}

/** The option with these members set, others untouched. Numbers above 2^53 keep their digits. */
export function withMembers(value: string, members: Readonly<Record<string, unknown>>): string {
  if (value.startsWith("{")) return formatJson({ ...parseJson(value), ...members });
  const set = Object.entries(members).map(([key, member]) => [key, textOf(member)] as const);
  return formatKeyValues(set.reduce((parts, [key, text]) => withValue(parts, key, text), parseKeyValues(value)));
}

/** JSON for an option; a bigint is a number. */
export function formatJson(members: Readonly<Record<string, unknown>>): string {
  const marked = JSON.stringify(members, (_, member: unknown) => (typeof member === "bigint" ? mark + member : member));
  return marked.replace(
    new RegExp(`"${JSON.stringify(mark).slice(1, -1).replaceAll("\\", "\\\\")}(-?\\d+)"`, "g"),
    "$1",
  );
}

/** Numbers that JavaScript's can't hold come as bigints. @throws SyntaxError for what is not JSON */
function parseJson(text: string): Record<string, unknown> {
  // Text in quotation marks is passed over.
  const marked = text.replace(/"(?:[^"\\]|\\.)*"|-?\d{16,}(?![\d.eE])/g, (token) =>
    token.startsWith('"') ? token : JSON.stringify(mark + token),
  );
  return JSON.parse(marked, (_, member: unknown) =>
    typeof member === "string" && member.startsWith(mark) ? BigInt(member.slice(mark.length)) : member,
  ) as Record<string, unknown>;
}

/** No text of an option has this character. */
const mark = "\u0001";

function textOf(member: unknown): string {
  return typeof member === "boolean" ? (member ? "on" : "off") : String(member);
}
