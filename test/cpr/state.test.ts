// The calls of CprState: each does what QEMU's does.

import { describe, expect, it } from "vitest";
import { type CprEvent, type CprEventName, CprState, loadCprState, saveCprState } from "../../src/cpr/index.ts";
import { key, stream } from "./bytes.ts";

const s32 = [0, 1, -1, 2 ** 31 - 1, -(2 ** 31)];

describe("saveFd and findFd", () => {
  it("keep an fd under name and id, each a part of the key", () => {
    const state = new CprState();
    state.saveFd("ram0", 0, 5);
    state.saveFd("ram0", 1, 6);
    state.saveFd("ram1", 0, 7);
    expect([state.findFd("ram0", 0), state.findFd("ram0", 1), state.findFd("ram1", 0)]).toEqual([5, 6, 7]);
    expect([state.findFd("ram1", 1), state.findFd("ram", 0), state.findFd("", 0)]).toEqual([-1, -1, -1]);
    expect([state.size, state.has("ram0", 1), state.has("ram0", 2)]).toEqual([3, true, false]);
  });

  it("take every id of 32 bits", () => {
    const state = new CprState();
    for (const [at, id] of s32.entries()) state.saveFd("a", id, at);
    expect(s32.map((id) => state.findFd("a", id))).toEqual([0, 1, 2, 3, 4]);
    const again = loadCprState(saveCprState(state)).state;
    expect(s32.map((id) => again.findFd("a", id))).toEqual([0, 1, 2, 3, 4]);
    for (const id of [2, -2, 2 ** 31, -(2 ** 31) - 1, 2 ** 32, 0.5, Number.NaN]) {
      expect([state.findFd("a", id), state.has("a", id), state.deleteFd("a", id)]).toEqual([-1, false, false]);
    }
    expect(state.size).toBe(5);
  });

  it.each(["constructor", "__proto__", "toString", "hasOwnProperty", "0", "-1", "", "size"])(
    "take %j for a name as any other",
    (name) => {
      const state = new CprState();
      expect([state.findFd(name, 0), state.has(name, 0), state.deleteFd(name, 0)]).toEqual([-1, false, false]);
      state.saveFd(name, 0, 3);
      state.saveFd(name, 1, 4);
      expect(state.entries()).toEqual([
        { name, id: 1, fd: 4 },
        { name, id: 0, fd: 3 },
      ]);
      expect(loadCprState(saveCprState(state)).state.entries()).toEqual(state.entries());
    },
  );

  it("refuse a key that is taken, also with the same fd, and keep what was there", () => {
    const state = new CprState();
    state.saveFd("a\n", 0, 5);
    for (const fd of [5, 6]) {
      expect(() => state.saveFd("a\n", 0, fd)).toThrow(
        expect.objectContaining({
          code: "ERR_FD_EXISTS",
          message: `fd 5 is already registered as "a\\n" id 0; cannot save fd ${fd} there`,
        }),
      );
    }
    expect(state.entries()).toEqual([{ name: "a\n", id: 0, fd: 5 }]);
  });

  it.each([
    ["an fd below 0", "a", 0, -1],
    ["an fd of more than 31 bits", "a", 0, 2 ** 31],
    ["half an fd", "a", 0, 1.5],
    ["no fd", "a", 0, undefined],
    ["an fd of another type", "a", 0, 5n],
    ["an id of more than 32 bits", "a", 2 ** 31, 5],
    ["an id below 32 bits", "a", -(2 ** 31) - 1, 5],
    ["an id that is no number", "a", Number.NaN, 5],
    ["an id of another type", "a", 1n, 5],
    ["an id that is a symbol", "a", Symbol("id"), 5],
    ["a name with NUL", "a\0b", 0, 5],
    ["no name", undefined, 0, 5],
    ["a name of another type", 5n, 0, 5],
  ])("refuse %s", (_title, name, id, fd) => {
    const state = new CprState();
    for (const save of [state.saveFd, state.resaveFd]) {
      expect(() => save.call(state, name as never, id as never, fd as never)).toThrow(
        expect.objectContaining({ code: "ERR_FD_INVALID" }),
      );
    }
    expect(state.size).toBe(0);
  });
});

describe("deleteFd", () => {
  it("forgets one entry and says whether it was there", () => {
    const state = new CprState();
    state.saveFd("a", 0, 5);
    state.saveFd("a", 1, 6);
    expect([state.deleteFd("a", 0), state.deleteFd("a", 0), state.deleteFd("b", 0)]).toEqual([true, false, false]);
    expect(state.entries()).toEqual([{ name: "a", id: 1, fd: 6 }]);
    state.saveFd("a", 0, 7);
    expect([state.findFd("a", 0), state.size]).toEqual([7, 2]);
  });

  it("keeps the others and their order when most are gone", () => {
    const state = new CprState();
    for (let id = 0; id < 1000; id++) state.saveFd(`dev${id % 10}`, id, id);
    for (let id = 0; id < 1000; id++) if (id % 100 !== 7) state.deleteFd(`dev${id % 10}`, id);
    expect(state.entries().map(({ id }) => id)).toEqual([907, 807, 707, 607, 507, 407, 307, 207, 107, 7]);
    for (let id = 0; id < 1000; id++) expect(state.findFd(`dev${id % 10}`, id)).toBe(id % 100 === 7 ? id : -1);
  });

  it("gives its room back: a million fds that come and go leave no trace", () => {
    const state = new CprState();
    state.saveFd("stays", 0, 1);
    for (let id = 0; id < 1_000_000; id++) {
      state.saveFd("goes", id, 2);
      state.deleteFd("goes", id);
    }
    expect(state.entries()).toEqual([{ name: "stays", id: 0, fd: 1 }]);
  });
});

describe("resaveFd", () => {
  it("saves what is absent, and may be repeated with the same fd", () => {
    const state = new CprState();
    for (let i = 0; i < 3; i++) state.resaveFd("a", 0, 5);
    expect(state.entries()).toEqual([{ name: "a", id: 0, fd: 5 }]);
  });

  it("refuses another fd and keeps the first", () => {
    const state = new CprState();
    state.resaveFd("a", 0, 5);
    expect(() => state.resaveFd("a", 0, 6)).toThrow(
      expect.objectContaining({
        code: "ERR_FD_CONFLICT",
        message: '"a" id 0 is already saved as fd 5; it cannot become fd 6',
      }),
    );
    expect(state.findFd("a", 0)).toBe(5);
  });

  it("replaces an fd that was not known, and leaves no second entry behind", () => {
    const { state } = loadCprState({ bytes: stream("01", key("a"), "20 01", key("b"), "20 00") });
    expect(state.findFd("a", 0)).toBe(-1);
    state.resaveFd("a", 0, 5);
    expect(state.entries()).toEqual([
      { name: "a", id: 0, fd: 5 },
      { name: "b", id: 0, fd: -1 },
    ]);
  });
});

describe("openFd", () => {
  it("opens and saves what is absent, once", () => {
    const state = new CprState();
    const opened: string[] = [];
    const open = (path: string) => opened.push(path) + 40;
    expect(state.openFd("/dev/vfio/1", "vfio_group", 1, open)).toBe(41);
    expect(state.openFd("/dev/vfio/1", "vfio_group", 1, open)).toBe(41);
    expect([opened, state.findFd("vfio_group", 1)]).toEqual([["/dev/vfio/1"], 41]);
  });

  it("saves nothing when it cannot be opened", () => {
    const state = new CprState();
    const failed = new Error("no such file");
    const open = () => {
      throw failed;
    };
    expect(() => state.openFd("/dev/vfio/1", "vfio_group", 1, open)).toThrow(failed);
    expect(() => state.openFd("/dev/vfio/1", "vfio_group", 1, () => -1)).toThrow(
      expect.objectContaining({ code: "ERR_FD_INVALID" }),
    );
    expect(state.size).toBe(0);
  });
});

describe("walkFds and iteration", () => {
  const state = new CprState();
  for (let id = 0; id < 5; id++) state.saveFd("a", id, 10 + id);

  it("go from the newest to the oldest", () => {
    const ids: number[] = [];
    expect(state.walkFds(({ id }) => ids.push(id) > 0)).toBe(true);
    expect(ids).toEqual([4, 3, 2, 1, 0]);
    expect([...state].map(({ fd }) => fd)).toEqual([14, 13, 12, 11, 10]);
    expect(state.entries()).toEqual([...state]);
  });

  it("stop when told, and say so", () => {
    const ids: number[] = [];
    expect(state.walkFds(({ id }) => ids.push(id) < 2)).toBe(false);
    expect(ids).toEqual([4, 3]);
  });

  it("have nothing to visit in an empty state", () => {
    expect(new CprState().walkFds(() => false)).toBe(true);
    expect([...new CprState()]).toEqual([]);
  });

  it("iterate over the entries as they were", () => {
    const changing = new CprState();
    for (let id = 0; id < 200; id++) changing.saveFd("a", id, id);
    for (const { name, id } of changing) changing.deleteFd(name, id);
    expect(changing.size).toBe(0);
  });
});

describe("getFdParam", () => {
  it("resolves and saves what the user gave", () => {
    const state = new CprState();
    expect(state.getFdParam("vfio0", "fdname", 2, (fdName) => fdName.length)).toBe(6);
    expect(state.findFd("vfio0", 2)).toBe(6);
    const failed = new Error("no fd of that name");
    const resolve = () => {
      throw failed;
    };
    expect(() => state.getFdParam("vfio1", "x", 0, resolve)).toThrow(failed);
    expect(state.size).toBe(1);
  });

  it("takes the saved one while a state is incoming, and asks nobody", () => {
    const state = new CprState();
    state.saveFd("vfio0", 2, 9);
    state.isIncoming = true;
    const resolve = () => expect.unreachable("asked to resolve");
    expect(state.getFdParam("vfio0", "30", 2, resolve)).toBe(9);
    expect(() => state.getFdParam("vfio0", "30", 3, resolve)).toThrow(
      expect.objectContaining({
        code: "ERR_FD_NOT_SAVED",
        message: 'cannot find the saved value for fd 30: nothing is saved as "vfio0" id 3',
      }),
    );
  });
});

describe("trace events", () => {
  function tracing(wanted: (event: CprEventName) => boolean) {
    const events: CprEvent[] = [];
    return { events, trace: { wants: wanted, emit: (event: CprEvent) => void events.push(event) } };
  }

  it("tell of each call, by the names of QEMU", () => {
    const { events, trace } = tracing(() => true);
    const state = new CprState({ trace });
    state.saveFd("a", 1, 5);
    state.findFd("a", 1);
    state.findFd("b", 0);
    state.resaveFd("a", 1, 5);
    state.resaveFd("c", 0, 6);
    state.deleteFd("a", 1);
    state.deleteFd("b", 0);
    expect(events).toEqual([
      { event: "cpr_save_fd", name: "a", id: 1, fd: 5 },
      { event: "cpr_find_fd", name: "a", id: 1, fd: 5 },
      { event: "cpr_find_fd", name: "b", id: 0, fd: -1 },
      { event: "cpr_save_fd", name: "c", id: 0, fd: 6 },
      { event: "cpr_delete_fd", name: "a", id: 1 },
      { event: "cpr_delete_fd", name: "b", id: 0 },
    ]);
  });

  it("tell of saving and loading, and of the hash table when there is one", () => {
    const { events, trace } = tracing(() => true);
    const state = new CprState();
    state.saveFd("a", 1, 5);
    const list = saveCprState(state, { trace, fdForm: "number" });
    const hash = saveCprState(state, { trace, abi: "hash" });
    loadCprState(list, { trace: undefined });
    loadCprState({ bytes: list.bytes }, { trace });
    loadCprState(hash, { trace });
    expect(events).toEqual([
      { event: "cpr_state_save", mode: "cpr-exec" },
      { event: "cpr_state_save", mode: "cpr-transfer" },
      { event: "put_ghash", field: "fds", count: 1 },
      { event: "cpr_state_load", mode: "cpr-exec" },
      { event: "cpr_state_load", mode: "cpr-transfer" },
      { event: "get_ghash", field: "fds", count: 1 },
    ]);
  });

  it("tell of nothing that is not wanted", () => {
    const { events, trace } = tracing((event) => event === "cpr_delete_fd");
    const state = new CprState({ trace });
    state.saveFd("a", 1, 5);
    state.findFd("a", 1);
    state.deleteFd("a", 1);
    loadCprState(saveCprState(state, { trace }), { trace });
    expect(events).toEqual([{ event: "cpr_delete_fd", name: "a", id: 1 }]);
  });

  it("come from a loaded state as well", () => {
    const { events, trace } = tracing((event) => event === "cpr_find_fd");
    loadCprState({ bytes: stream("01", key("a"), "20 00") }, { trace }).state.findFd("a", 0);
    expect(events).toEqual([{ event: "cpr_find_fd", name: "a", id: 0, fd: -1 }]);
  });
});

describe("an empty list of fds in the form that was asked for", () => {
  it.each(["passed", "number"] as const)("%s", (fdForm) => {
    expect(loadCprState({ bytes: stream("00") }, { fdForm }).fdForm).toBe(fdForm);
  });
});
