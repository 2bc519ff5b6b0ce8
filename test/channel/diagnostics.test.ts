// The trace events on node:diagnostics_channel, with QEMU's names.

import { channel } from "node:diagnostics_channel";
import { afterEach, expect, test } from "vitest";
import { cprChannelName, diagnosticsTrace } from "../../src/channel/index.ts";
import { type CprEvent, type CprEventName, CprState, loadCprState, saveCprState } from "../../src/cpr/index.ts";

const names: readonly CprEventName[] = [
  "cpr_save_fd",
  "cpr_delete_fd",
  "cpr_find_fd",
  "cpr_state_save",
  "cpr_state_load",
  "put_ghash",
  "get_ghash",
];
const unsubscribe: (() => void)[] = [];

function listen(to: readonly CprEventName[] = names): CprEvent[] {
  const seen: CprEvent[] = [];
  for (const name of to) {
    const listener = (message: unknown) => {
      seen.push(message as CprEvent);
    };
    channel(cprChannelName(name)).subscribe(listener);
    unsubscribe.push(() => channel(cprChannelName(name)).unsubscribe(listener));
  }
  return seen;
}

afterEach(() => {
  for (const stop of unsubscribe.splice(0)) stop();
});

test("every event is published on the channel of its name, in order", () => {
  const seen = listen();
  const trace = diagnosticsTrace();
  const state = new CprState({ trace });
  state.saveFd("ram0", 0, 5);
  state.findFd("ram0", 0);
  state.findFd("ram0", 1);
  const { bytes } = saveCprState(state, { trace, abi: "hash", fdForm: "number" });
  loadCprState({ bytes }, { trace });
  state.deleteFd("ram0", 0);
  expect(seen).toEqual([
    { event: "cpr_save_fd", name: "ram0", id: 0, fd: 5 },
    { event: "cpr_find_fd", name: "ram0", id: 0, fd: 5 },
    { event: "cpr_find_fd", name: "ram0", id: 1, fd: -1 },
    { event: "cpr_state_save", mode: "cpr-exec" },
    { event: "put_ghash", field: "fds", count: 1 },
    { event: "cpr_state_load", mode: "cpr-exec" },
    { event: "get_ghash", field: "fds", count: 1 },
    { event: "cpr_delete_fd", name: "ram0", id: 0 },
  ]);
});

test("who listens to one channel gets only its events, and the others are not even built", () => {
  const seen = listen(["cpr_delete_fd"]);
  const trace = diagnosticsTrace();
  expect(names.filter((name) => trace.wants(name))).toEqual(["cpr_delete_fd"]);
  const state = new CprState({ trace });
  state.saveFd("a", 0, 5);
  state.deleteFd("a", 0);
  expect(seen).toEqual([{ event: "cpr_delete_fd", name: "a", id: 0 }]);
});

test("the list ABI has no events of the hash", () => {
  const seen = listen(["put_ghash", "get_ghash"]);
  const trace = diagnosticsTrace();
  loadCprState(saveCprState(new CprState(), { trace }), { trace });
  expect(seen).toEqual([]);
});
