// What the server of this page has put into it: files of the command line, a running machine. A page from a file has none.

import type { From, OpenOptions } from "../worker/protocol.ts";
import type { VmAnswer } from "./app.ts";
import { member } from "./json-rows.ts";

/** What was named on the command line. */
export interface Served {
  readonly files: readonly From[];
  readonly options: OpenOptions;
  /** What is to be shown first, as `inspect --section` and `--field` name it. */
  readonly section: string | undefined;
  readonly field: string | undefined;
  /** Where the running machine is asked. */
  readonly vm: string | undefined;
}

/** Undefined for a page that no server gave. */
export function served(): Served | undefined {
  const content = document.querySelector('meta[name="cprkit"]')?.getAttribute("content") ?? "";
  if (content === "") return undefined;
  // The server is cprkit itself.
  const { files, vm, options } = JSON.parse(content) as {
    readonly files: readonly { readonly name: string; readonly size: number; readonly path: string }[];
    readonly vm: string | undefined;
    readonly options: OpenOptions & { readonly section?: string; readonly field?: string };
  };
  // A worker from a Blob has no address that others are relative to.
  const absolute = (path: string): string => new URL(path, location.href).href;
  return {
    files: files.map(({ name, size, path }) => ({ kind: "served", name, size, url: absolute(path) })),
    options,
    section: options.section,
    field: options.field,
    vm: vm === undefined ? undefined : absolute(vm),
  };
}

/** Asks the server for the machine. */
export async function askVm(url: string): Promise<VmAnswer> {
  try {
    const answer: unknown = await (await fetch(url, { cache: "no-store" })).json();
    const error = member(answer, "error");
    return {
      machine: member(answer, "machine"),
      preflight: member(answer, "preflight"),
      error: typeof error === "string" ? error : undefined,
    };
  } catch (error) {
    return { machine: undefined, preflight: undefined, error: `the server did not answer: ${String(error)}` };
  }
}
