// A signal that many wait with.
import { expect, it } from "vitest";
import { roomySignal } from "../../src/linux/wait/roomy-signal.ts";
import { waitFor } from "../../src/linux/wait/wait-for.ts";

it("many waits follow one signal, without a warning", async () => {
  const warnings: unknown[] = [];
  const onWarning = (warning: unknown) => void warnings.push(warning);
  process.on("warning", onWarning);
  const given = new AbortController();
  const signal = roomySignal(given.signal);
  const waits = Array.from({ length: 40 }, () =>
    waitFor<void>(
      "nothing",
      { signal },
      () => "",
      () => () => undefined,
    ),
  );
  const ends = Promise.allSettled(waits);
  // Warnings come a turn later.
  await new Promise((resolve) => setTimeout(resolve, 1));
  given.abort();
  for (const { status } of await ends) expect(status).toBe("rejected");
  process.off("warning", onWarning);
  expect(warnings).toEqual([]);
  expect(roomySignal(undefined)).toBeUndefined();
});
