// One member of an option set or taken away, in the form that the option has: key=value or JSON.

import { formatKeyValues, parseKeyValues, withValue } from "./parse.ts";

export function isMachine(name: string): boolean {
  return name === "machine" || name === "M";
}

/** The option's value with one member set. */
export function withMember(value: string, key: string, text: string): string {
  if (!value.startsWith("{")) return formatKeyValues(withValue(parseKeyValues(value), key, text));
  const member = text === "on" ? true : text === "off" ? false : text;
  return JSON.stringify({ ...(JSON.parse(value) as object), [key]: member });
}

/** The option's value without one member; "" when nothing is left. */
export function withoutMember(value: string, key: string): string {
  if (!value.startsWith("{")) return formatKeyValues(parseKeyValues(value).filter(([name]) => name !== key));
  const { [key]: _, ...rest } = JSON.parse(value) as Record<string, unknown>;
  return JSON.stringify(rest);
}
