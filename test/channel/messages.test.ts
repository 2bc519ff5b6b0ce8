// The rule by which several fds may travel in one message so that every QEMU still finds each at its byte.

import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { cutMessages, type Message, splitMessage } from "../../src/channel/index.ts";
import type { Output } from "../../src/vmstate/index.ts";

/** A stream with fds at some of its bytes, in order. */
const outputs = fc
  .array(fc.record({ gap: fc.nat(40), fd: fc.nat(100_000) }), { maxLength: 120 })
  .chain((entries) => fc.record({ entries: fc.constant(entries), tail: fc.nat(30) }))
  .map(({ entries, tail }): Output => {
    let at = 0;
    const fds = entries.map(({ gap, fd }) => {
      at += gap + 1;
      return { offset: at - 1, fd };
    });
    return { bytes: Uint8Array.from({ length: at + tail }, (_, i) => i % 256), fds };
  });

/** Checks the messages against the stream: the bytes and fds are the same, and no fd begins its travel too late. */
function expectRule(messages: readonly Message[], { bytes, fds }: Output, maxFds: number): void {
  expect(Buffer.compare(Buffer.concat(messages.map((message) => message.bytes)), bytes)).toBe(0);
  expect(messages.flatMap((message) => message.fds)).toEqual(fds.map(({ fd }) => fd));
  let start = 0;
  let next = 0;
  for (const message of messages) {
    expect(message.bytes.length).toBeGreaterThan(0);
    expect(message.fds.length).toBeLessThanOrEqual(maxFds);
    for (const _ of message.fds) {
      expect(start).toBeLessThanOrEqual(fds[next]?.offset ?? -1);
      next += 1;
    }
    start += message.bytes.length;
  }
}

describe("cutMessages", () => {
  it("keeps bytes and order, and sends no fd after its byte", () => {
    fc.assert(
      fc.property(outputs, fc.integer({ min: 1, max: 253 }), (output, maxFds) => {
        const messages = cutMessages(output, maxFds);
        expectRule(messages, output, maxFds);
        // Not more messages than needed.
        const groups = Math.ceil(output.fds.length / maxFds);
        expect(messages.length).toBeLessThanOrEqual(groups + 1);
      }),
    );
  });

  it("ends a message at the byte of its last fd, as QEMU's own does", () => {
    const bytes = Uint8Array.of(0, 1, 2, 3, 4, 5);
    const messages = cutMessages({ bytes, fds: [1, 2, 4].map((offset) => ({ offset, fd: 10 + offset })) }, 2);
    expect(messages).toEqual([
      { bytes: Uint8Array.of(0, 1, 2), fds: [11, 12] },
      { bytes: Uint8Array.of(3, 4), fds: [14] },
      { bytes: Uint8Array.of(5), fds: [] },
    ]);
  });

  it("names the byte of an fd that is not known", () => {
    const output = { bytes: new Uint8Array(9), fds: [{ offset: 7, fd: -1 }] };
    expect(() => cutMessages(output, 16)).toThrow(expect.objectContaining({ code: "ERR_FD_INVALID", offset: 7 }));
  });

  it.each([0, -1, 1.5, 254, Number.NaN])("refuses %d fds per message", (maxFds) => {
    const output = { bytes: new Uint8Array(2), fds: [{ offset: 0, fd: 3 }] };
    expect(() => cutMessages(output, maxFds)).toThrow(expect.objectContaining({ code: "ERR_VALUE" }));
    expect(() => splitMessage({ bytes: output.bytes, fds: [3] }, maxFds)).toThrow("expected 1 to 253");
  });
});

describe("splitMessage", () => {
  it("keeps the rule for a message that kept it, whatever it holds", () => {
    fc.assert(
      fc.property(
        outputs,
        fc.integer({ min: 1, max: 253 }),
        fc.integer({ min: 1, max: 253 }),
        (output, from, maxFds) => {
          const messages = cutMessages(output, from).flatMap((message) => splitMessage(message, maxFds));
          expectRule(messages, output, maxFds);
        },
      ),
    );
  });

  it("leaves a message that is small enough as it is", () => {
    const message = { bytes: Uint8Array.of(1, 2, 3), fds: [4, 5] };
    expect(splitMessage(message, 16)).toEqual([message]);
    expect(splitMessage({ bytes: message.bytes, fds: [] }, 1)).toEqual([{ bytes: message.bytes, fds: [] }]);
  });

  it("refuses more groups of fds than there are bytes", () => {
    const message = { bytes: Uint8Array.of(0x20), fds: [3, 4] };
    expect(() => splitMessage(message, 1)).toThrow(expect.objectContaining({ code: "ERR_BAD_STREAM" }));
  });
});
