// What is said when no monitor and no QEMU can be reached: the reason in QEMU's terms, and what to do.

import { rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, expect, it } from "vitest";
import { closeFd, connectUnix, listenUnix } from "../../src/linux/index.ts";
import { connectQmp } from "../../src/qemu/qmp/client.ts";
import { probeBinary } from "../../src/qemu/vm/probe.ts";
import { privateDir } from "../support/vm.ts";

const folder = privateDir();
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const messageOf = async (work: Promise<unknown>) => {
  const outcome = await work.then(
    () => undefined,
    (error: unknown) => error,
  );
  expect(outcome).toMatchObject({ code: expect.stringMatching(/^ERR_/) });
  return outcome as { readonly code: string; readonly message: string };
};

it("a monitor that is not there, that nobody serves, and that takes no further client", async () => {
  const missing = await messageOf(connectQmp(join(folder, "none")));
  expect(missing.message).toMatch(/none: no QMP monitor can be reached there: there is no such socket \(ENOENT\)/);

  const stale = join(folder, "stale");
  writeFileSync(stale, "");
  expect((await messageOf(connectQmp(stale))).message).toMatch(/nobody listens there \(ECONNREFUSED\): QEMU has ended/);

  const busy = join(folder, "busy");
  const listener = listenUnix(busy, { backlog: 0 });
  const waiting = await connectUnix(busy);
  const { message } = await messageOf(connectQmp(busy, { timeoutMs: 100 }));
  expect(message).toMatch(
    /reached there within 100 ms: another client holds this monitor, and more wait for it; QEMU serves one at a time: .* a second -qmp$/,
  );
  closeFd(waiting);
  listener.close();
});

it("a QEMU that can't be started, and one that Ctrl-C ended together with cprkit", async () => {
  expect((await messageOf(probeBinary(["/nonexistent/qemu"]))).message).toMatch(/there is no such program.*ENOENT/);
  expect((await messageOf(probeBinary([folder]))).message).toMatch(/not executable for this user, or a folder/);

  const controller = new AbortController();
  const aborted = messageOf(probeBinary(["/bin/sh", "-c", "sleep 0.2"], { signal: controller.signal }));
  controller.abort();
  expect(await aborted).toMatchObject({
    code: "ERR_ABORTED",
    message: expect.stringContaining("aborted while asking"),
  });
});
