// Why a load failed, for people.

import type { Explanation } from "../../migration/index.ts";
import { printable } from "../../vmstate/shown/text.ts";

/** A paragraph for each reason. */
export function explanationsText(explanations: readonly Explanation[]): string {
  if (explanations.length === 0) return "the log has no failed load that is known\n";
  return explanations.map(paragraph).join("\n");
}

function paragraph({ code, section, what, why, remedy, line, said }: Explanation): string {
  const place = section === undefined ? "" : `${printable(section)}: `;
  const words: readonly (readonly [string, string])[] = [
    ["why", why],
    ["do", remedy],
    ["said", `${said}${line > 0 ? ` (line ${line})` : ""}`],
  ];
  return [
    `${place}${printable(what)}  [${code}]`,
    ...words.map(([name, text]) => `  ${name.padEnd(5)} ${printable(text)}`),
    "",
  ].join("\n");
}
