// The address of what is shown: after the #, to be sent to a colleague, who drops the same file.

import { printable } from "../../vmstate/shown/text.ts";

/** The views, in the order of their tabs. */
export const views = ["overview", "devices", "bytes", "ram", "cpr", "compare", "vm"] as const;

/** One of {@link views}. */
export type View = (typeof views)[number];

/** What an address names. */
export interface Address {
  /** Names of the files, without their folders. */
  readonly files: readonly string[];
  readonly view: View;
  /** As `cprkit inspect --section` names it. */
  readonly section: string | undefined;
  /** The field's path, from the section down. */
  readonly field: string | undefined;
  /** Offset of a byte. */
  readonly at: number | undefined;
}

/** Reads what follows the #. What is not understood is left out. */
export function readAddress(hash: string): Address {
  const words = new URLSearchParams(hash.replace(/^#/, ""));
  const at = words.get("at");
  return {
    files: words.getAll("file"),
    view: views.find((view) => view === words.get("view")) ?? "overview",
    section: words.get("section") ?? undefined,
    field: words.get("field") ?? undefined,
    at: at !== null && /^(0x[\da-f]{1,13}|\d{1,15})$/i.test(at) ? Number(at) : undefined,
  };
}

/** The address as text, with its #. Names are written so that they can be read: compare them by `printable`. */
export function writeAddress({ files, view, section, field, at }: Address): string {
  const words = new URLSearchParams();
  for (const file of files) words.append("file", printable(file));
  words.set("view", view);
  if (section !== undefined) words.set("section", printable(section));
  if (field !== undefined && field !== "") words.set("field", printable(field));
  if (at !== undefined) words.set("at", `0x${at.toString(16)}`);
  return `#${words.toString()}`;
}
