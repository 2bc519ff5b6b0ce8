// The error is API: codes, shape, brand, JSON.
import { expect, test } from "vitest";
import { CprkitError, errorCodes, isCprkitError } from "../../src/vmstate/index.ts";

// Append only. A code that goes missing here breaks the programs that compare with it.
const published = [
  "ERR_DESCRIPTION",
  "ERR_EOF",
  "ERR_VERSION_TOO_NEW",
  "ERR_VERSION_TOO_OLD",
  "ERR_BAD_MAGIC",
  "ERR_BAD_BYTE",
  "ERR_RANGE",
  "ERR_NOT_EQUAL",
  "ERR_COUNT",
  "ERR_LIMIT",
  "ERR_DEPTH",
  "ERR_UNKNOWN_SUBSECTION",
  "ERR_TRAILING_BYTES",
  "ERR_MUST_EXIST",
  "ERR_HOOK",
  "ERR_AMBIGUOUS_ABI",
  "ERR_FD_MISSING",
  "ERR_FD_SURPLUS",
  "ERR_DUPLICATE",
  "ERR_BAD_STREAM",
  "ERR_VALUE",
  "ERR_NOT_FOR_VERSION",
];

test("no code is lost, none appears twice", () => {
  expect(errorCodes).toEqual(expect.arrayContaining(published));
  expect(new Set(errorCodes).size).toBe(errorCodes.length);
});

test.each([...errorCodes])("%s", (code) => {
  const cause = new Error("below");
  const error = new CprkitError(code, "what is wrong", {
    offset: 26,
    errno: "EMFILE",
    syscall: "dup",
    qmpClass: "GenericError",
    cause,
  });
  error.within("namelen").within("cpr fd").within(3).within("fds").within("CprState");
  expect(error).toBeInstanceOf(Error);
  expect(error.name).toBe("CprkitError");
  expect(Object.keys(error)).not.toContain("name");
  expect(error).toMatchObject({
    code,
    reason: "what is wrong",
    offset: 26,
    errno: "EMFILE",
    syscall: "dup",
    qmpClass: "GenericError",
    cause,
  });
  expect(error.path).toBe("CprState/fds[3]/cpr fd/namelen");
  expect(error.message).toBe("CprState/fds[3]/cpr fd/namelen at byte 26 (0x1a): what is wrong");
  expect(JSON.parse(JSON.stringify(error))).toEqual({
    code,
    message: error.message,
    path: "CprState/fds[3]/cpr fd/namelen",
    offset: 26,
    errno: "EMFILE",
    syscall: "dup",
  });
  expect(isCprkitError(error)).toBe(true);
  expect(isCprkitError(error, code)).toBe(true);
  expect(errorCodes.filter((other) => isCprkitError(error, other))).toEqual([code]);
});

test("the message says as much as is known", () => {
  expect(new CprkitError("ERR_VALUE", "bad").message).toBe("bad");
  expect(new CprkitError("ERR_VALUE", "bad", { offset: 0 }).message).toBe("byte 0 (0x0): bad");
  expect(new CprkitError("ERR_VALUE", "bad").within("field").message).toBe("field: bad");
  expect(new CprkitError("ERR_VALUE", "bad").toJSON()).toEqual({ code: "ERR_VALUE", message: "bad" });
});

test("an error of another copy of the package is known too", async () => {
  const copy = (await import(
    `${new URL("../../src/vmstate/error.ts", import.meta.url).href}?copy`
  )) as typeof import("../../src/vmstate/error.ts");
  const foreign = new copy.CprkitError("ERR_EOF", "elsewhere");
  expect(foreign).not.toBeInstanceOf(CprkitError);
  expect(isCprkitError(foreign)).toBe(true);
  expect(isCprkitError(foreign, "ERR_EOF")).toBe(true);
});

test.each([undefined, null, "ERR_EOF", 1, {}, new Error("ERR_EOF"), { code: "ERR_EOF" }])("%s is none", (other) => {
  expect(isCprkitError(other)).toBe(false);
});
