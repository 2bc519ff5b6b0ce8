// How much memory a page and its workers have for JavaScript.

import type { Page } from "playwright-core";

interface Usage {
  readonly usedSize: number;
  /** Of array buffers, which are not in `usedSize`. */
  readonly backingStorageSize?: number;
}

/** Bytes in use after a collection, of the page and all of its workers, array buffers included. */
export async function heapOf(page: Page): Promise<number> {
  const session = await page.context().newCDPSession(page);
  let last = 0;
  const waiting = new Map<number, (usage: Usage) => void>();
  const workers: string[] = [];
  session.on("Target.attachedToTarget", ({ sessionId }) => workers.push(sessionId));
  session.on("Target.receivedMessageFromTarget", ({ message }) => {
    const { id, result } = JSON.parse(message) as { readonly id?: number; readonly result?: Usage };
    if (id !== undefined && result !== undefined) waiting.get(id)?.(result);
  });
  await session.send("Target.setAutoAttach", { autoAttach: true, waitForDebuggerOnStart: false, flatten: false });
  const ask = (sessionId: string, method: string): Promise<Usage> =>
    new Promise((resolve) => {
      const id = ++last;
      waiting.set(id, resolve);
      void session.send("Target.sendMessageToTarget", { sessionId, message: JSON.stringify({ id, method }) });
    });
  await session.send("HeapProfiler.collectGarbage");
  const usages = [(await session.send("Runtime.getHeapUsage")) as Usage];
  for (const worker of workers) {
    await ask(worker, "HeapProfiler.collectGarbage");
    usages.push(await ask(worker, "Runtime.getHeapUsage"));
  }
  await session.detach();
  if (workers.length === 0) throw new Error("the page's worker was not found");
  return usages.reduce((sum, { usedSize, backingStorageSize = 0 }) => sum + usedSize + backingStorageSize, 0);
}
