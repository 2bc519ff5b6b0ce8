// What the cases share: a command that must succeed, an update with its report, what is seen of a VM.

import { command } from "./host.mjs";

/**
 * @typedef {object} Case
 * @property {string} name
 * @property {string} table the heading in docs/lab.md under which its row stands
 * @property {(host: import("./host.mjs").Host) => Promise<Record<string, string | number>>} run gives the row; throws if it fails
 */

/**
 * Runs a command, and gives what it says.
 *
 * @param {import("./host.mjs").Host} host
 * @param {string} text
 * @param {number} [seconds]
 */
export async function sh(host, text, seconds = 600) {
  const { code, out } = await command(host, text, seconds);
  if (code !== 0) throw new Error(`${text.slice(0, 300)}\nended with ${code}:\n${out.slice(-2000)}`);
  return out.trim();
}

/**
 * `cprkit update` with its report.
 *
 * @param {import("./host.mjs").Host} host
 * @param {string} words
 * @param {string} [before] words before it
 */
export async function update(host, words, before = "") {
  const out = await sh(
    host,
    `${before} /cprkit/bin/cprkit update --timeout 240 --json ${words} 2>/run/update.err || { cat /run/update.err; exit 1; }`,
    900,
  );
  return JSON.parse(out);
}

/** @param {boolean} isTrue @param {string} what */
export function expect(isTrue, what) {
  if (!isTrue) throw new Error(`expected ${what}`);
}

/**
 * How the guest goes on: two looks at its serial port.
 *
 * @param {import("./host.mjs").Host} host
 * @param {string} serial
 * @param {string} mask the vectors that must come in every tick, as the guest shows them
 */
export async function expectInterrupts(host, serial, mask) {
  const last = async () => (await sh(host, `grep -E '^[0-9a-f]{8} ' ${serial} | tail -n 2 | head -n 1`)).split(" ");
  const [tick = "", irqs = ""] = await last();
  await sh(host, "sleep 3");
  const [laterTick = "", laterIrqs = "", seen = ""] = await last();
  const ticks = Number.parseInt(laterTick, 16) - Number.parseInt(tick, 16);
  const interrupts = Number.parseInt(laterIrqs, 16) - Number.parseInt(irqs, 16);
  expect(ticks > 0, `the guest to go on, found ${tick} and ${laterTick}`);
  expect(seen === mask, `interrupts of the vectors ${mask}, found ${seen}`);
  return { ticks, interrupts };
}
