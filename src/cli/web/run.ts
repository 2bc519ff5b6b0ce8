// cprkit web and inspect --web: serves the page, opens the browser, and ends with Ctrl-C.

import type { VmTarget } from "../../qemu/vm/open.ts";
import { isCprkitError } from "../../vmstate/error.ts";
import { print, printJson } from "../output.ts";
import { openBrowser } from "./browser.ts";
import { type ServedThings, serveInspector } from "./server.ts";

/** What the page shows. */
export interface WebTask {
  readonly files: readonly string[];
  readonly options?: ServedThings["options"] | undefined;
  /** A running machine, and the QEMU that an update would take. */
  readonly vm?: (VmTarget & { readonly qemu?: string | undefined }) | undefined;
  readonly json: boolean;
  /** Whether a browser is opened. */
  readonly browser: boolean;
}

/** Serves until SIGINT, SIGTERM or SIGHUP. Throws as {@link serveInspector}. */
export async function runWeb({ files, options = {}, vm, json, browser }: WebTask): Promise<void> {
  const server = await serveInspector({ files, options, vm: vm && asker(vm) });
  const stopped = new Promise<void>((resolve) => {
    for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.once(signal, () => resolve());
  });
  const opened = browser && openBrowser(server.url);
  if (json) printJson({ url: server.url, files, vm: vm?.qmp ?? (vm === undefined ? null : String(vm.pid)), opened });
  else print(`${server.url}\n${opened ? "opened in the browser" : "open it in a browser"}; Ctrl-C ends it\n`);
  await stopped;
  await server.close();
}

/** Asks the VM: the machine as it is, and what preflight says. One question at a time; nothing is changed. */
function asker({ qmp, pid, qemu }: NonNullable<WebTask["vm"]>): () => Promise<unknown> {
  let asking: Promise<unknown> | undefined;
  const ask = async (): Promise<unknown> => {
    const [{ readMachine }, { preflight }] = await Promise.all([
      import("../../qemu/machine/read.ts"),
      import("../../qemu/preflight/preflight.ts"),
    ]);
    const answer: { machine?: unknown; preflight?: unknown; error?: string } = {};
    try {
      answer.machine = await readMachine({ qmp, pid });
      answer.preflight = await preflight({ qmp, pid }, { qemu });
    } catch (error) {
      if (!isCprkitError(error)) throw error;
      answer.error = error.message;
    }
    return answer;
  };
  return () => {
    asking ??= ask().finally(() => {
      asking = undefined;
    });
    return asking;
  };
}
