// The time limit of a program that is asked something, with the one meaning that every wait of cprkit has.

import { expect, it } from "vitest";
import { readVmProcess } from "../../src/qemu/vm/process.ts";
import { runProgram } from "../../src/qemu/vm/run-program.ts";

const env = {};
const like = readVmProcess(process.pid);
const run = (script: string, options: { readonly timeoutMs?: number; readonly signal?: AbortSignal } = {}) =>
  runProgram(["/bin/sh", "-c", script], "what it can do", { like, env, ...options });

it("gives what it printed, with any limit above 0", async () => {
  for (const timeoutMs of [undefined, 5_000.5, Number.POSITIVE_INFINITY, 2 ** 40]) {
    expect(await run("echo answer", timeoutMs === undefined ? {} : { timeoutMs })).toBe("answer\n");
  }
});

it("does not start it when no time is left", async () => {
  await expect(run("echo answer", { timeoutMs: 0 })).rejects.toMatchObject({
    code: "ERR_TIMEOUT",
    message: expect.stringMatching(/no time left to ask \/bin\/sh what it can do: it was not started/),
  });
  await expect(run("echo answer", { timeoutMs: -1 })).rejects.toMatchObject({ code: "ERR_VALUE" });
});

it("ends it at the limit, and when it is aborted", async () => {
  await expect(run("exec sleep 60", { timeoutMs: 50 })).rejects.toMatchObject({
    code: "ERR_TIMEOUT",
    message: expect.stringContaining("was not done within 50 ms"),
  });
  await expect(run("exec sleep 60", { signal: AbortSignal.timeout(50) })).rejects.toMatchObject({
    code: "ERR_ABORTED",
  });
});

it("says what it said when it fails or is not there", async () => {
  await expect(run("echo cannot >&2; exit 3")).rejects.toMatchObject({
    code: "ERR_QEMU_EXITED",
    message: expect.stringMatching(/\/bin\/sh, asked what it can do, gave no answer: .*cannot$/s),
  });
  await expect(runProgram(["/nonexistent/qemu"], "x", { like, env })).rejects.toMatchObject({
    code: "ERR_QEMU_EXITED",
  });
});
