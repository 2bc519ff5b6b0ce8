// The helpers that other tests rely on: each must notice what it is there to notice.
import { createHash } from "node:crypto";
import { closeSync, openSync, rmSync } from "node:fs";
import { connect } from "node:net";
import { join } from "node:path";
import { afterEach, expect, it } from "vitest";
import { packInitramfs } from "../guest/initramfs.ts";
import { expectNoFdLeak, openFds } from "./fds.ts";
import { assertContiguous, createSerialLog, type SerialLog } from "./serial-log.ts";
import { listCprCaptures } from "./shared.ts";
import { privateDir } from "./vm.ts";

const cleanups: (() => Promise<void> | void)[] = [];
afterEach(async () => {
  for (const clean of cleanups.splice(0).reverse()) await clean();
});

async function logOf(...texts: string[]): Promise<SerialLog> {
  const dir = privateDir();
  const log = await createSerialLog(join(dir, "s.sock"));
  cleanups.push(
    () => log.close(),
    () => rmSync(dir, { recursive: true, force: true }),
  );
  for (const text of texts) {
    const socket = connect(log.path);
    await new Promise<void>((resolve) => socket.once("connect", resolve));
    socket.end(text);
    const end = text.split("\n").at(-2) ?? text;
    await log.waitForText(end, 2000);
  }
  return log;
}

it("lists captures whose bytes are those that were recorded", () => {
  const captures = listCprCaptures();
  expect(captures.length).toBe(20);
  for (const { name, bytes, sidecar } of captures) {
    expect(createHash("sha256").update(bytes).digest("hex"), name).toBe(sidecar.sha256);
    expect(sidecar.fds.length, name).toBe(sidecar.fdCount);
  }
});

it("notices an fd left open, one closed, and one replaced", async () => {
  let fd = -1;
  await expect(
    expectNoFdLeak(() => {
      fd = openSync("/dev/null", "r");
    }),
  ).rejects.toThrow(`left open ${fd} (/dev/null)`);
  expect(openFds().get(fd)).toBe("/dev/null");
  await expect(expectNoFdLeak(() => closeSync(fd))).rejects.toThrow(`closed ${fd} (/dev/null)`);
  await expect(expectNoFdLeak(() => 7)).resolves.toBe(7);
});

it("joins a line that one process began and the next ended", async () => {
  const source = await logOf("GUEST READY\nT 8 1.20\nT 9\nT 1");
  const destination = await logOf("0\nT 11\n");
  expect(assertContiguous(source, destination)).toMatchObject({ first: 8, last: 11 });
});

it("notices a number lost, repeated, garbled, and a failed check of RAM", async () => {
  await expect(logOf("T 1\nT 3\n").then(assertContiguous)).rejects.toThrow("from 1 to 3");
  await expect(logOf("T 1\nT 1\n").then(assertContiguous)).rejects.toThrow("from 1 to 1");
  await expect(logOf("T 5\nT 0\n").then(assertContiguous)).rejects.toThrow("from 5 to 0");
  await expect(logOf("boot\n").then(assertContiguous)).rejects.toThrow("counted nothing");
  await expect(logOf("T 1\nT 2x\n").then(assertContiguous)).rejects.toThrow("garbled");
  await expect(logOf("T 1\nFILL BAD 500\n").then(assertContiguous)).rejects.toThrow("RAM failed");
});

it("waits for a count, and says what came last when it does not come", async () => {
  const log = await logOf("T 0\nT 1\n");
  expect((await log.waitForCount(1, 1000)).value).toBe(1);
  await expect(log.waitForMore(1, 20)).rejects.toThrow(/1 more counts within 20 ms.*T 1/);
});

it("tells a wait of a garbled count at once", async () => {
  const log = await logOf("T 0\nT 1?\n");
  await expect(log.waitForCount(5, 60_000)).rejects.toThrow("garbled");
});

it("packs the same initramfs each time", () => {
  const pack = () => packInitramfs(new TextEncoder().encode("#!/bin/sh\n"), new Uint8Array([1, 2, 3]));
  expect(pack()).toEqual(pack());
});
