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
  /** A block of guest RAM, and a page in it. */
  readonly block?: string | undefined;
  readonly page?: number | undefined;
}

/** Reads what follows the #. What is not understood is left out. */
export function readAddress(hash: string): Address {
  const words = new URLSearchParams(hash.replace(/^#/, ""));
  const number = (name: string): number | undefined => {
    const text = words.get(name) ?? "";
    return /^(0x[\da-f]{1,13}|\d{1,15})$/i.test(text) ? Number(text) : undefined;
  };
  return {
    files: words.getAll("file"),
    view: views.find((view) => view === words.get("view")) ?? "overview",
    section: words.get("section") ?? undefined,
    field: words.get("field") ?? undefined,
    at: number("at"),
    block: words.get("block") ?? undefined,
    page: number("page"),
  };
}

/** The address as text, with its #. Names are written so that they can be read: compare them by `printable`. */
export function writeAddress({ files, view, section, field, at, block, page }: Address): string {
  const words = new URLSearchParams();
  for (const file of files) words.append("file", printable(file));
  words.set("view", view);
  if (section !== undefined) words.set("section", printable(section));
  if (field !== undefined && field !== "") words.set("field", printable(field));
  if (at !== undefined) words.set("at", `0x${at.toString(16)}`);
  if (view === "ram" && block !== undefined) words.set("block", printable(block));
  if (view === "ram" && page !== undefined) words.set("page", String(page));
  return `#${words.toString()}`;
}
