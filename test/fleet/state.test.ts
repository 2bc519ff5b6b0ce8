// What an agent keeps on its host's disk.

import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, it } from "vitest";
import { openState } from "../../fleet/src/agent/state.ts";

it("remembers the highest epoch, whoever tells it last: a heartbeat's answer may be older than a claim's", () => {
  const dir = mkdtempSync(join(tmpdir(), "cprkit-state-"));
  const state = openState(dir);
  try {
    const seen = { id: "9", token: "00000000-0000-4000-8000-000000000000" };
    state.remember({ epoch: 7, seen: undefined });
    state.remember({ epoch: 6, seen });
    expect(state.memory()).toEqual({ epoch: 7, seen });
    state.remember({ epoch: 8, seen });
    expect(state.memory().epoch).toBe(8);
  } finally {
    state.close();
    rmSync(dir, { recursive: true });
  }
});
