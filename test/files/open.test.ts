// A migration stream from a file, a named pipe, or a place inside a file; and nothing is read from what was closed.

import { execFileSync, spawn } from "node:child_process";
import { closeSync, fstatSync, mkdtempSync, openSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { openSource } from "../../src/files/index.ts";
import { encodeMigration, readMigration } from "../../src/migration/index.ts";
import { isCprkitError } from "../../src/vmstate/index.ts";
import { repoRoot } from "../support/cli.ts";

const capture = join(repoRoot, "test/fixtures/migration/cpr-main-microvm-10.0.mig");
const bytes = readFileSync(capture);
const folder = mkdtempSync(join(tmpdir(), "cprkit-files-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const errorOf = (action: () => unknown) => {
  try {
    action();
  } catch (error) {
    if (isCprkitError(error)) return { code: error.code, message: error.message };
  }
  return undefined;
};

describe("a file", () => {
  test("gives its first bytes, its length, and the stream", async () => {
    const input = openSource(capture);
    try {
      expect(input).toMatchObject({ kind: "file", path: capture, size: bytes.length });
      expect(Buffer.from(input.start).toString("latin1")).toBe("QEVM\0\0\0\x03");
      const migration = await readMigration(input.source);
      expect(migration).toMatchObject({ machine: "microvm", complete: true, stopped: undefined, problems: [] });
      if (input.kind !== "file") throw new Error("expected a file");
      const parts: Uint8Array[] = [];
      for await (const part of encodeMigration(migration, input.source)) parts.push(part.slice());
      expect(Buffer.concat(parts).equals(bytes)).toBe(true);
    } finally {
      input.close();
    }
  });

  test("gives the bytes of any place, fewer at its end, and all within a limit", () => {
    const input = openSource(capture);
    if (input.kind !== "file") throw new Error("expected a file");
    expect(Buffer.from(input.bytesAt(4, 4)).toString("hex")).toBe("00000003");
    expect(input.bytesAt(bytes.length - 2, 10)).toHaveLength(2);
    expect(input.bytesAt(bytes.length + 5, 10)).toHaveLength(0);
    expect(bytes.equals(input.all(bytes.length))).toBe(true);
    expect(errorOf(() => input.all(bytes.length - 1))).toEqual({
      code: "ERR_LIMIT",
      message: `${capture} at byte ${bytes.length - 1} (0x${(bytes.length - 1).toString(16)}): it has more than ${bytes.length - 1} bytes; is it the right file?`,
    });
    input.close();
  });

  test("may hold the stream at an offset", async () => {
    const path = join(folder, "offset.mig");
    writeFileSync(path, Buffer.concat([Buffer.alloc(4096), bytes]));
    const input = openSource(path, { offset: 4096 });
    expect(Buffer.from(input.start.subarray(0, 4)).toString("latin1")).toBe("QEVM");
    expect(await readMigration(input.source, { offset: 4096 })).toMatchObject({ offset: 4096, complete: true });
    input.close();
  });

  test("that is short gives what there is", () => {
    const path = join(folder, "short");
    writeFileSync(path, "QE");
    const input = openSource(path);
    expect(Buffer.from(input.start).toString("latin1")).toBe("QE");
    input.close();
  });

  test("that does not exist is ERR_FILE, with what the system said", () => {
    expect(errorOf(() => openSource("/nowhere/vm.mig"))).toEqual({
      code: "ERR_FILE",
      message: "cannot read /nowhere/vm.mig: no such file or directory (ENOENT)",
    });
  });

  test("a folder is ERR_FILE, and is closed again", () => {
    const before = openFds();
    expect(errorOf(() => openSource(folder))).toMatchObject({ code: "ERR_FILE" });
    expect(openFds()).toEqual(before);
  });
});

describe("closing", () => {
  test("twice closes no file that has the number by then", () => {
    const input = openSource(capture);
    input.close();
    const next = openSync(capture, "r");
    input.close();
    expect(fstatSync(next).isFile()).toBe(true);
    closeSync(next);
  });

  test("is what disposing does", async () => {
    const before = openFds();
    const input = openSource(capture);
    expect(openFds()).toHaveLength(before.length + 1);
    await input[Symbol.asyncDispose]();
    expect(openFds()).toEqual(before);
    openSource(capture)[Symbol.dispose]();
    expect(openFds()).toEqual(before);
  });

  test("ends reading: another file that gets the number is not read", async () => {
    const input = openSource(capture);
    input.close();
    const next = openSync(capture, "r");
    const closed = { code: "ERR_FILE", message: `cannot read ${capture}: it was closed` };
    expect(errorOf(() => input.all(1 << 30))).toEqual(closed);
    await expect(readMigration(input.source)).rejects.toMatchObject(closed);
    closeSync(next);
  });
});

describe("a named pipe", () => {
  const pipe = (name: string): string => {
    const path = join(folder, name);
    execFileSync("mkfifo", [path]);
    spawn("sh", ["-c", 'exec cat "$0" > "$1"', capture, path], { stdio: "ignore" });
    return path;
  };

  test("gives the stream once", async () => {
    const input = openSource(pipe("once"));
    expect(input).toMatchObject({ kind: "pipe", size: undefined });
    expect(Buffer.from(input.start.subarray(0, 4)).toString("latin1")).toBe("QEVM");
    expect(await readMigration(input.source)).toMatchObject({ machine: "microvm", complete: true });
    input.close();
  });

  test("gives all bytes within a limit", () => {
    const input = openSource(pipe("all"));
    expect(bytes.equals(input.all(bytes.length))).toBe(true);
    input.close();
    const other = openSource(pipe("limit"));
    expect(errorOf(() => other.all(1 << 20))).toBeUndefined();
    other.close();
    const small = openSource(pipe("small"));
    expect(errorOf(() => small.all(16))).toMatchObject({ code: "ERR_LIMIT" });
    small.close();
  });
});

function openFds(): string[] {
  return readdirSync("/proc/self/fd").filter((fd) => {
    try {
      fstatSync(Number(fd));
      return true;
    } catch {
      return false;
    }
  });
}
