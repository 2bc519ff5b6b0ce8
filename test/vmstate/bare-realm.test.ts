// The built package runs where there is nothing but ECMAScript: no Buffer, no process, no TextDecoder, no eval.
import { execFileSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";

test("vmstate in a bare realm", () => {
  const child = fileURLToPath(new URL("./children/bare-realm.mjs", import.meta.url));
  const entry = new URL("../../dist/vmstate/index.js", import.meta.url).href;
  const args = ["--experimental-vm-modules", "--disallow-code-generation-from-strings", child, entry];
  const output = execFileSync(process.execPath, args, {
    encoding: "utf8",
    stdio: ["ignore", "pipe", "ignore"],
    timeout: 30_000,
  });
  expect(JSON.parse(output)).toEqual({
    present: [],
    evalError: "EvalError",
    cpr: "0100000005636166e900ffffffff200100000006636166c3a900000000022000",
    names: [true, true],
    fds: [
      { offset: 14, fd: 7 },
      { offset: 30, fd: 8 },
    ],
    again: true,
    byJson: true,
    spans: 17,
    failure: {
      isCprkitError: true,
      code: "ERR_EOF",
      message: expect.stringContaining("CprState/fds[0]/cpr fd/name at byte 5"),
      path: "CprState/fds[0]/cpr fd/name",
      offset: 5,
    },
  });
});
