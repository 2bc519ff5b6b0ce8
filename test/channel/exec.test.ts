// Across exec: the new program has the same pid and finds every fd; a refused exec changes nothing.

import { execFileSync } from "node:child_process";
import { closeSync, ftruncateSync, openSync, writeSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";
import { cprExecVariable, loadCprStateFromExec, readExecCprState } from "../../src/channel/index.ts";
import { saveCprState } from "../../src/cpr/index.ts";
import {
  closeFd,
  closeFds,
  createMemfd,
  isCloseOnExec,
  isOpen,
  setCloseOnExec,
  socketPair,
} from "../../src/linux/index.ts";
import { isCprkitError } from "../../src/vmstate/error.ts";
import { expectNoFdLeak } from "../support/fds.ts";
import { childReport, memfdState, tooFewFds, withTempDir } from "./support.ts";

const count = 7530;
const reason = tooFewFds(count);
if (reason !== undefined) console.warn(`skipped: ${count} fds across exec: ${reason}`);
const nothingLeaked = { surplus: [], lost: [] };

describe.skipIf(reason !== undefined)(`${count} fds across exec [${reason ?? "real fds"}]`, () => {
  it("are all found by the new program, and nothing else is left of the old one", async () => {
    const { open } = (await childReport("exec-new", [])) as { open: number };
    expect(await childReport("exec-old", [String(count)])).toEqual({
      loaded: true,
      size: count,
      found: count,
      right: count,
      closeOnExec: count,
      samePid: true,
      variable: null,
      isIncoming: true,
      // Neither the one that was not saved nor the memfd of the state itself.
      otherMemfds: [],
      secondLoad: null,
      // With the saved ones closed there are as many as in a program that inherited none.
      open,
    });
  });

  it("stay as they were when the new program cannot be started", async () => {
    expect(await childReport("exec-refused", [String(count)])).toEqual({
      errors: [
        { code: "ERR_SYSCALL", errno: "ENOENT", message: expect.stringContaining("/nonexistent") },
        { code: "ERR_SYSCALL", errno: "EACCES", message: expect.stringContaining("executing /:") },
        { code: "ERR_FD_INVALID", message: expect.stringMatching(/^the state says that ".*" id .* not open$/) },
      ],
      unchanged: true,
      leaked: nothingLeaked,
      afterInvalid: nothingLeaked,
      variable: null,
      size: count,
      found: count,
      right: count,
      closeOnExec: count,
    });
  });
});

it("leaves no memfd open when the state cannot be written", () => {
  const script = fileURLToPath(new URL("children/exec-no-room.mjs", import.meta.url));
  const text = execFileSync("sh", ["-c", 'ulimit -f 0; exec "$0" "$1"', process.execPath, script], { timeout: 60_000 });
  expect(JSON.parse(text.toString())).toEqual({
    code: "ERR_SYSCALL",
    message: expect.stringMatching(/cannot be written to a memfd.*EFBIG/),
    left: [],
  });
});

/** A memfd with the bytes, and the environment that names it. */
function stateFile(bytes: Uint8Array): { readonly memfd: number; readonly env: Record<string, string | undefined> } {
  const memfd = createMemfd(cprExecVariable);
  writeSync(memfd, bytes);
  return { memfd, env: { [cprExecVariable]: String(memfd), OTHER: "stays" } };
}

function thrown(body: () => unknown): { readonly code: string; readonly message: string } {
  try {
    body();
  } catch (error) {
    if (isCprkitError(error)) return { code: error.code, message: error.message };
    throw error;
  }
  throw new Error("it was expected to fail");
}

describe("loadCprStateFromExec", () => {
  it("returns undefined without the variable", () => {
    expect(loadCprStateFromExec({ env: {} })).toBeUndefined();
  });

  it("sets close-on-exec again, closes the memfd and removes the variable", () =>
    expectNoFdLeak(() => {
      const { state, fds } = memfdState(3);
      for (const fd of fds) setCloseOnExec(fd, false);
      const { memfd, env } = stateFile(saveCprState(state, { fdForm: "number" }).bytes);
      const loaded = loadCprStateFromExec({ env });
      expect(loaded?.state.entries()).toEqual(state.entries());
      expect(fds.map(isCloseOnExec)).toEqual([true, true, true]);
      expect(isOpen(memfd)).toBe(false);
      expect(env).toEqual({ OTHER: "stays" });
      closeFds(fds);
    }));

  it.each(["", "x", "-1", "1e3", "99999", "0x10", "9999999999"])("refuses %j as the number of the memfd", (value) => {
    const env = { [cprExecVariable]: value };
    const error = thrown(() => loadCprStateFromExec({ env }));
    expect(error).toEqual({ code: "ERR_BAD_STREAM", message: expect.stringContaining(cprExecVariable) });
    expect(env).toEqual({});
  });

  it("refuses a number that is open but no file, and does not close it", () => {
    const pair = socketPair();
    const error = thrown(() => loadCprStateFromExec({ env: { [cprExecVariable]: String(pair[0]) } }));
    expect(error).toEqual({ code: "ERR_BAD_STREAM", message: expect.stringContaining("memfd") });
    expect(pair.map(isOpen)).toEqual([true, true]);
    closeFds(pair);
  });

  it("refuses bad bytes with their offset and closes the memfd", () =>
    expectNoFdLeak(() => {
      const { env } = stateFile(new TextEncoder().encode("no state"));
      expect(thrown(() => loadCprStateFromExec({ env })).code).toBe("ERR_BAD_MAGIC");
    }));

  it("refuses the form that travels over a socket", () =>
    expectNoFdLeak(() => {
      const { state, fds } = memfdState(1);
      const { env } = stateFile(saveCprState(state).bytes);
      closeFds(fds);
      const error = thrown(() => loadCprStateFromExec({ env }));
      expect(error).toEqual({ code: "ERR_BAD_BYTE", message: expect.stringContaining("cpr-exec") });
    }));

  // The memfd itself gets the number of the fd that was closed.
  it("refuses a state with an fd that is not open, and lets no other survive the next exec", () =>
    expectNoFdLeak(() => {
      const { state, fds } = memfdState(3);
      const { bytes } = saveCprState(state, { fdForm: "number" });
      for (const fd of fds) setCloseOnExec(fd, false);
      closeFd(fds[1] as number);
      const { env } = stateFile(bytes);
      const error = thrown(() => loadCprStateFromExec({ env }));
      expect(error).toEqual({ code: "ERR_FD_INVALID", message: expect.stringContaining('"ram1" id 0') });
      expect([fds[0], fds[2]].map((fd) => isCloseOnExec(fd as number))).toEqual([true, true]);
      closeFds(fds);
    }));
});

describe("readExecCprState", () => {
  it("reads from outside what the process keeps, without moving its position", () =>
    expectNoFdLeak(() => {
      const { state, fds } = memfdState(2);
      const { memfd } = stateFile(saveCprState(state, { fdForm: "number" }).bytes);
      expect(readExecCprState(process.pid, memfd).state.entries()).toEqual(state.entries());
      expect(readExecCprState(process.pid, memfd).state.size).toBe(2);
      closeFds([memfd, ...fds]);
    }));

  it("says so when there is no such process or fd", () => {
    expect(thrown(() => readExecCprState(2 ** 22 + 1, 3))).toEqual({
      code: "ERR_FILE",
      message: expect.stringContaining("is process 4194305 alive, and yours?"),
    });
  });

  it("reads neither a file as large as a guest's RAM nor something that is no file", () =>
    withTempDir((directory) =>
      expectNoFdLeak(async () => {
        const large = openSync(join(directory, "large"), "w+");
        ftruncateSync(large, 2 ** 40);
        expect(thrown(() => readExecCprState(process.pid, large)).code).toBe("ERR_LIMIT");
        closeSync(large);
        const folder = openSync(directory, "r");
        expect(thrown(() => readExecCprState(process.pid, folder)).code).toBe("ERR_BAD_STREAM");
        closeSync(folder);
      }),
    ));
});
