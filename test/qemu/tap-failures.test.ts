// What goes wrong around the tap, with real QEMUs: the guest goes on in the old one, and the tap leaves no fd and no
// socket behind.
import { chmodSync, existsSync, readdirSync } from "node:fs";
import { setTimeout as delay } from "node:timers/promises";
import { afterAll, describe, expect, it } from "vitest";
import { cutMessages, receiveCprState, sendCprState, sendMessages } from "../../src/channel/index.ts";
import { CprState, saveCprState } from "../../src/cpr/index.ts";
import {
  acceptUnix,
  closeFd,
  closeFds,
  connectUnix,
  createEventfd,
  createMemfd,
  getNonblock,
  listenUnix,
  receiveFds,
  setNonblock,
  shutdownSocket,
  waitHangup,
  waitReadable,
} from "../../src/linux/index.ts";
import { type TapOptions, type TapResult, tap } from "../../src/qemu/index.ts";
import { failure, memfdState, startChild } from "../channel/support.ts";
import { expectNoFdLeak } from "../support/fds.ts";
import { isRoot, nobody } from "../support/other-user.ts";
import { describeQemu } from "../support/qemu.ts";
import { killAllVms, type Vm } from "../support/vm.ts";
import {
  endAll,
  expectMoved,
  expectStayed,
  freshPaths,
  migrate,
  type Paths,
  type Running,
  startDestination,
  startSource,
} from "./tap-support.ts";

/** A promise and what resolves it. */
function signalled(): { readonly given: Promise<void>; readonly give: () => void } {
  let give = () => {};
  const given = new Promise<void>((resolve) => {
    give = resolve;
  });
  return { given, give };
}

describeQemu("tap, when something fails", ["10.0"], (qemu) => {
  const options = { from: qemu["10.0"], to: qemu["10.0"], extraBackends: 40 };

  /**
   * Runs `body` with a source in which the guest counts, and then expects it to count on there. A migration that
   * failed must not hinder a later one: `again` shows that.
   */
  function guestStays(
    body: (source: Running, paths: Paths) => Promise<Vm | undefined>,
    { again = false } = {},
  ): Promise<void> {
    return expectNoFdLeak(async () => {
      const paths = freshPaths();
      const source = await startSource(options);
      const vms: (Vm | undefined)[] = [];
      try {
        const destination = await body(source, paths);
        vms.push(destination);
        expect(readdirSync(paths.dir)).not.toContain("tap.sock");
        await expectStayed(source, destination);
        if (!again) return;
        const fresh = freshPaths();
        const next = await startDestination(options, fresh);
        vms.push(next);
        const tapped = tap({ listen: fresh.tap, connect: fresh.cpr });
        await migrate(source.qmp, fresh.main, fresh.tap);
        await tapped;
        await expectMoved(source, next);
      } finally {
        await endAll(source, ...vms);
      }
    });
  }

  /** Lets the old QEMU send its state; whether it says that it could is not the point. */
  const send = (source: Running, paths: Paths) => migrate(source.qmp, paths.main, paths.tap).catch(() => {});

  const relay = (paths: Paths, more: Partial<TapOptions> = {}) =>
    tap({ listen: paths.tap, connect: paths.cpr, timeoutMs: 20_000, ...more });

  it("the new QEMU is killed when it has the state, before it is ready", () =>
    guestStays(
      async (source, paths) => {
        const destination = await startDestination(options, paths);
        destination.process.kill("SIGSTOP");
        const passed = signalled();
        const tapped = relay(paths, { onState: passed.give });
        await send(source, paths);
        await passed.given;
        destination.process.kill("SIGKILL");
        expect(await tapped).toMatchObject({ hungUpBy: "destination" });
        return destination;
      },
      { again: true },
    ));

  it("the new QEMU hangs up as soon as it is connected", () =>
    guestStays(async (source, paths) => {
      const listener = listenUnix(paths.cpr);
      const tapped = relay(paths).catch((error) => error);
      const sending = send(source, paths);
      closeFd(await acceptUnix(listener.fd));
      listener.close();
      // The tap had passed everything on by then, or had not.
      const outcome = await tapped;
      expect(outcome.code ?? outcome.hungUpBy).toMatch(/^(ERR_PEER|destination)$/);
      await sending;
      return undefined;
    }));

  it("the new QEMU never listens", () =>
    guestStays(
      async (source, paths) => {
        const tapped = failure(relay(paths, { timeoutMs: 300 }));
        await send(source, paths);
        const message = expect.stringContaining(paths.cpr);
        expect(await tapped).toEqual({ code: "ERR_TIMEOUT", errno: "ENOENT", message });
        return undefined;
      },
      { again: true },
    ));

  it("the new QEMU takes nothing, and the tap is aborted", () =>
    guestStays(async (source, paths) => {
      // Our own listener in place of QEMU's: its backlog takes the connection, nobody reads.
      const listener = listenUnix(paths.cpr);
      const abort = new AbortController();
      const tapped = failure(relay(paths, { signal: abort.signal }));
      await send(source, paths);
      await delay(100);
      abort.abort();
      expect(await tapped).toMatchObject({ code: "ERR_ABORTED" });
      listener.close();
      return undefined;
    }));

  it("the tap is aborted before the new QEMU is there", () =>
    guestStays(
      async (source, paths) => {
        const abort = new AbortController();
        const tapped = failure(relay(paths, { signal: abort.signal }));
        await send(source, paths);
        abort.abort();
        expect(await tapped).toMatchObject({ code: "ERR_ABORTED" });
        return undefined;
      },
      { again: true },
    ));

  it("the tap is aborted when the state has passed: the new QEMU, stopped until then, never runs the guest", () =>
    guestStays(async (source, paths) => {
      const destination = await startDestination(options, paths);
      destination.process.kill("SIGSTOP");
      const abort = new AbortController();
      const tapped = failure(relay(paths, { signal: abort.signal, onState: () => abort.abort() }));
      await send(source, paths);
      expect(await tapped).toMatchObject({ code: "ERR_ABORTED" });
      destination.process.kill("SIGCONT");
      return destination;
    }));

  it("the update is cancelled in the old QEMU: the tap tells the new one", () =>
    guestStays(
      async (source, paths) => {
        const destination = await startDestination(options, paths);
        destination.process.kill("SIGSTOP");
        const passed = signalled();
        const tapped = relay(paths, { onState: passed.give });
        await send(source, paths);
        await passed.given;
        await source.qmp.execute("migrate_cancel");
        expect(await tapped).toMatchObject({ hungUpBy: "source" });
        await destination.kill();
        return destination;
      },
      { again: true },
    ));

  it("garbage comes in place of a state: the new QEMU refuses it, a translating tap before that", () =>
    expectNoFdLeak(async () => {
      for (const to of [undefined, "list"] as const) {
        const paths = freshPaths();
        const destination = await startDestination(options, paths);
        try {
          const tapped = relay(paths, { to }).catch((error) => error as { code: string });
          const socket = await connectUnix(paths.tap);
          const fd = createMemfd("garbage");
          await sendMessages(socket, [{ bytes: new TextEncoder().encode("no state at all"), fds: [fd] }]);
          closeFds([fd, socket]);
          const outcome = await tapped;
          if (to === undefined) {
            expect(outcome).toMatchObject({ abi: undefined, fds: [] });
            expect((outcome as TapResult).warnings).toEqual([expect.stringContaining("passed on unread")]);
            expect((await destination.exited).code).toBe(1);
            expect(destination.stderr()).toContain("bad magic");
          } else {
            expect(outcome).toMatchObject({ code: "ERR_BAD_MAGIC" });
            expect((await destination.exited).code).toBe(1);
          }
          expect(existsSync(paths.tap)).toBe(false);
        } finally {
          await endAll(destination);
        }
      }
    }));

  it("the old QEMU dies in the middle of the state: the new one never runs the guest", () =>
    expectNoFdLeak(async () => {
      const paths = freshPaths();
      const destination = await startDestination(options, paths);
      try {
        const tapped = relay(paths);
        const child = startChild("die", { path: paths.tap, role: "sender", count: 100 });
        const result = await tapped;
        await child.exited;
        expect(result.warnings).toEqual([expect.stringContaining("passed on unread")]);
        expect((await destination.exited).code).toBe(1);
        expect(destination.serial.text()).toBe("");
      } finally {
        await endAll(destination);
      }
    }));
});

describe("tap, with cprkit at either end", () => {
  // Nothing but the folders of the sockets.
  afterAll(killAllVms);

  it("cuts messages that are too large for QEMU, and sets O_NONBLOCK again where the receiver cleared it", () =>
    expectNoFdLeak(async () => {
      const paths = freshPaths();
      const state = new CprState();
      const fds = Array.from({ length: 600 }, () => createEventfd());
      for (const [id, fd] of fds.entries()) state.saveFd("interrupt", id, fd);
      const listener = listenUnix(paths.cpr);
      const tapped = tap({ listen: paths.tap, connect: paths.cpr });
      const sent = await sendCprState(paths.tap, state, { fdsPerMessage: 253, waitForListener: true });
      const destination = await acceptUnix(listener.fd);
      listener.close();

      // Reads with QEMU's room for 16 fds: one more would be an error here.
      const received: number[] = [];
      const bytes: Uint8Array[] = [];
      const buffer = new Uint8Array(32_768);
      for (;;) {
        const message = receiveFds(destination, buffer, { maxFds: 16 });
        if (message === "again") {
          await waitReadable(destination);
          continue;
        }
        if (message.bytesRead === 0) break;
        received.push(...message.fds);
        bytes.push(buffer.slice(0, message.bytesRead));
      }
      expect(Buffer.compare(Buffer.concat(bytes), saveCprState(state).bytes)).toBe(0);
      expect(received).toHaveLength(600);
      for (const fd of received) setNonblock(fd, false);
      closeFds([destination, ...received]);

      expect(await tapped).toMatchObject({ hungUpBy: "destination", nonblockRestored: 600, abi: "list" });
      expect(fds.every(getNonblock)).toBe(true);
      expect(await sent.hungUp()).toEqual({ nonblockRestored: 0 });
      closeFds(fds);
    }));

  for (const to of [undefined, "list"] as const) {
    it(`tells the source when the destination goes in the middle, ${to === undefined ? "live" : "translating"}`, () =>
      expectNoFdLeak(async () => {
        const paths = freshPaths();
        const { state, fds } = memfdState(100);
        const listener = listenUnix(paths.cpr);
        const tapped = failure(tap({ listen: paths.tap, connect: paths.cpr, to }));
        const source = await connectUnix(paths.tap, { waitForListener: true, timeoutMs: 20_000 });
        await sendMessages(source, cutMessages(saveCprState(state), 16).slice(0, 3));
        const destination = await acceptUnix(listener.fd);
        listener.close();
        closeFd(destination);
        expect(await tapped).toEqual({ code: "ERR_PEER", message: expect.stringContaining("the new QEMU hung up") });
        await waitHangup(source, { halfClose: false, timeoutMs: 20_000 });
        closeFds([source, ...fds]);
      }));
  }

  it("sets O_NONBLOCK again also when the destination takes some fds, clears it and goes", () =>
    expectNoFdLeak(async () => {
      const paths = freshPaths();
      const state = new CprState();
      const fds = Array.from({ length: 100 }, () => createEventfd());
      for (const [id, fd] of fds.entries()) state.saveFd("interrupt", id, fd);
      const listener = listenUnix(paths.cpr);
      const tapped = failure(tap({ listen: paths.tap, connect: paths.cpr }));
      const source = await connectUnix(paths.tap, { waitForListener: true, timeoutMs: 20_000 });
      await sendMessages(source, cutMessages(saveCprState(state), 16).slice(0, 3));
      const destination = await acceptUnix(listener.fd);
      listener.close();
      const received: number[] = [];
      while (received.length < 48) {
        await waitReadable(destination, { timeoutMs: 20_000 });
        const message = receiveFds(destination, new Uint8Array(32_768), { maxFds: 16 });
        if (message !== "again") received.push(...message.fds);
      }
      for (const fd of received) setNonblock(fd, false);
      expect(fds.every(getNonblock)).toBe(false);
      closeFds([destination, ...received]);
      expect(await tapped).toMatchObject({ code: "ERR_PEER" });
      expect(fds.every(getNonblock)).toBe(true);
      closeFds([source, ...fds]);
    }));

  it("sets O_NONBLOCK again when it is aborted after the state has passed", () =>
    expectNoFdLeak(async () => {
      const paths = freshPaths();
      const state = new CprState();
      const event = createEventfd();
      state.saveFd("interrupt", 0, event);
      const abort = new AbortController();
      const tapped = failure(tap({ listen: paths.tap, connect: paths.cpr, signal: abort.signal }));
      const receiving = receiveCprState(paths.cpr, { connectTimeoutMs: 20_000 });
      const sent = await sendCprState(paths.tap, state, { waitForListener: true });
      const received = await receiving;
      setNonblock(received.state.findFd("interrupt", 0), false);
      expect(getNonblock(event)).toBe(false);
      abort.abort();
      expect(await tapped).toMatchObject({ code: "ERR_ABORTED" });
      expect(getNonblock(event)).toBe(true);
      received.hangUp();
      sent.close();
      closeFds([event, ...received.state.entries().map(({ fd }) => fd)]);
    }));

  it("never takes numbers in the stream for fds of its own", () =>
    expectNoFdLeak(async () => {
      for (const to of [undefined, "list"] as const) {
        const paths = freshPaths();
        const state = new CprState();
        // Standard error is open in every process.
        state.saveFd("interrupt", 0, 2);
        const tapped = tap({ listen: paths.tap, connect: paths.cpr, to }).catch((error) => error);
        const receiving = failure(receiveCprState(paths.cpr, { connectTimeoutMs: 20_000 }));
        const source = await connectUnix(paths.tap, { waitForListener: true, timeoutMs: 20_000 });
        await sendMessages(source, cutMessages(saveCprState(state, { fdForm: "number" }), 16));
        shutdownSocket(source, "write");
        const outcome = await tapped;
        if (to === undefined) {
          expect(outcome).toMatchObject({ fds: [], warnings: [expect.stringMatching(/passed on unread.*cpr-exec/)] });
        } else expect(outcome).toMatchObject({ code: "ERR_BAD_BYTE" });
        expect((await receiving).code).toMatch(/^ERR_/);
        closeFd(source);
      }
    }));

  it("waits for a destination that listens only later", () =>
    expectNoFdLeak(async () => {
      const paths = freshPaths();
      const { state, fds } = memfdState(20);
      const tapped = tap({ listen: paths.tap, connect: paths.cpr });
      const sent = await sendCprState(paths.tap, state, { waitForListener: true });
      await delay(50);
      const received = await receiveCprState(paths.cpr, { connectTimeoutMs: 20_000 });
      expect(received.state.size).toBe(20);
      received.hangUp();
      await sent.hungUp();
      expect(await tapped).toMatchObject({ hungUpBy: "destination" });
      closeFds([...fds, ...received.state.entries().map(({ fd }) => fd)]);
    }));

  it("leaves no socket when it is aborted before anybody connects", () =>
    expectNoFdLeak(async () => {
      const paths = freshPaths();
      const abort = new AbortController();
      const onListening = () => {
        expect(existsSync(paths.tap)).toBe(true);
        abort.abort();
      };
      const tapped = failure(tap({ listen: paths.tap, connect: paths.cpr, signal: abort.signal, onListening }));
      expect(await tapped).toMatchObject({ code: "ERR_ABORTED" });
      expect(readdirSync(paths.dir)).toEqual([]);
    }));

  it("takes nothing from a source of another user than the one named", () =>
    expectNoFdLeak(async () => {
      const paths = freshPaths();
      const tapped = failure(tap({ listen: paths.tap, connect: paths.cpr, peerUid: 12_345 }));
      const source = await connectUnix(paths.tap, { waitForListener: true, timeoutMs: 20_000 });
      expect(await tapped).toMatchObject({ code: "ERR_PEER_CREDENTIALS" });
      await waitHangup(source, { timeoutMs: 20_000 });
      closeFd(source);
    }));

  if (!isRoot) console.warn("skipped: a destination of another user: only root can start one");
  it.skipIf(!isRoot)(`gives nothing to a destination of another user [${isRoot ? "nobody" : "needs root"}]`, () =>
    expectNoFdLeak(async () => {
      const paths = freshPaths();
      chmodSync(paths.dir, 0o777);
      const { state, fds } = memfdState(3);
      const stranger = startChild("stranger", { path: paths.cpr, role: "listen" }, nobody);
      await stranger.next();
      const tapped = failure(tap({ listen: paths.tap, connect: paths.cpr }));
      const sent = await sendCprState(paths.tap, state, { waitForListener: true });
      expect(await tapped).toMatchObject({ code: "ERR_PEER_CREDENTIALS" });
      expect(await stranger.next()).toEqual({ bytes: 0, fds: 0 });
      await sent.hungUp();
      await stranger.exited;
      closeFds(fds);
    }),
  );

  it("does not wait for ever after the state: it says that nobody has hung up, and hangs up", () =>
    expectNoFdLeak(async () => {
      const paths = freshPaths();
      const receiving = receiveCprState(paths.cpr, { connectTimeoutMs: 20_000 });
      const tapped = failure(tap({ listen: paths.tap, connect: paths.cpr, timeoutMs: 300 }));
      const { state, fds } = memfdState(2);
      const sent = await sendCprState(paths.tap, state, { waitForListener: true });
      const received = await receiving;
      expect(await tapped).toMatchObject({
        code: "ERR_TIMEOUT",
        message: expect.stringMatching(/the state has passed, but neither QEMU has hung up within 300 ms/),
      });
      await sent.hungUp();
      received.hangUp();
      closeFds([...fds, ...received.state.entries().map(({ fd }) => fd)]);
    }));

  it("passes on the end of the stream and the hang-up, each in its direction, and never half-closes", () =>
    expectNoFdLeak(async () => {
      const paths = freshPaths();
      const receiving = receiveCprState(paths.cpr, { connectTimeoutMs: 20_000 });
      const tapped = tap({ listen: paths.tap, connect: paths.cpr });
      const source = await connectUnix(paths.tap, { waitForListener: true, timeoutMs: 20_000 });
      await sendMessages(source, cutMessages(saveCprState(new CprState()), 16));
      shutdownSocket(source, "write");
      const received = await receiving;
      // QEMU waits for exactly this.
      const hungUp = (timeoutMs: number) => waitHangup(source, { halfClose: false, timeoutMs });
      expect(await failure(hungUp(150))).toMatchObject({ code: "ERR_TIMEOUT" });
      received.hangUp();
      await hungUp(20_000);
      expect((await tapped).hungUpBy).toBe("destination");
      closeFd(source);
    }));
});
