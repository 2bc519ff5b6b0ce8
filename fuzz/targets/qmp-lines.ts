// The bytes of a QMP monitor. The first byte is the length of the chunks in which they arrive.

import { qmpLines } from "../../src/qemu/qmp/lines.ts";
import { type Target, unlessRefused } from "../target.ts";

export const fuzz: Target = (input) => {
  const [size = 0] = input;
  const bytes = input.subarray(1);
  const whole = messagesOf(bytes, bytes.length);
  const cut = messagesOf(bytes, size === 0 ? 1 : size);
  if (whole !== cut) throw new Error(`in chunks of ${size} bytes: ${cut}; at once: ${whole}`);
};

/** The messages and the refusal that ends them, as text. */
function messagesOf(bytes: Uint8Array, size: number): string {
  const lines = qmpLines(4096);
  const found: unknown[] = [];
  for (let at = 0; at < bytes.length; at += size) {
    const chunk = bytes.subarray(at, at + size);
    const taken = unlessRefused(() => lines.push(chunk, (message) => found.push(message)) ?? true, undefined, [
      "ERR_QMP",
    ]);
    if (taken === undefined) return JSON.stringify([...found, "refused"]);
  }
  return JSON.stringify([...found, lines.unfinishedBytes()]);
}
