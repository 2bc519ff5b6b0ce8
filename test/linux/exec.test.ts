import { constants } from "node:fs";
import { describe, expect, it } from "vitest";
import { isCloseOnExec, listFds } from "../../src/linux/index.ts";
import { childReport, runChild } from "./support.ts";

describe("execve", () => {
  it("becomes another Node program with the same pid, 100 fds and the exit code", async () => {
    const { code, signal, stdout, stderr } = await runChild("exec-old", ["100"]);
    expect({ code, signal, stderr }).toEqual({ code: 42, signal: null, stderr: "said on stderr\n" });
    expect(JSON.parse(stdout)).toEqual({
      samePid: true,
      right: 100,
      argument: "ünïcode with spaces",
      variable: "a=b=c",
      variableCount: 1,
      // What was not named was closed.
      surplus: [],
    });
  });

  it("gives the new program default signals and blocking standard fds", async () => {
    const { stdout } = await runChild("exec-status");
    const status = new Map(
      stdout
        .trim()
        .split("\n")
        .map((line) => line.split(/:\s*/) as [string, string]),
    );
    expect(status.get("SigBlk")).toBe("0000000000000000");
    expect(status.get("SigIgn")).toBe("0000000000000000");
    expect(Number.parseInt(status.get("flags") ?? "", 8) & constants.O_NONBLOCK).toBe(0);
  });

  it("puts everything back when the kernel refuses", async () => {
    expect(await childReport("exec-refused")).toEqual({
      errors: [
        ["ERR_SYSCALL", "ENOENT"],
        ["ERR_SYSCALL", "EACCES"],
        ["ERR_FD_INVALID", null],
        ["ERR_VALUE", null],
      ],
      closeOnExec: [true, true],
      signals: "unchanged",
      message: expect.stringMatching(/^executing \/nonexistent: execve failed with ENOENT/),
    });
  });

  it("can rely on it that Node's own fds are close-on-exec", async () => {
    // What this process itself was given and passes on.
    const inherited = listFds().filter((fd) => !isCloseOnExec(fd));
    expect(await childReport("own-fds", [], { env: { INHERITED: inherited.join() } })).toEqual({ notCloseOnExec: [] });
  });
});
