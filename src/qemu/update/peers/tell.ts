// Commands to a QEMU that may be gone or silent: what went wrong is an answer, too.

import { isCprkitError } from "../../../vmstate/error.ts";
import { restoreTaps } from "../../handover/tap-settings.ts";
import { isUnderWay } from "../../vm/modes.ts";
import type { DisplayPasswords } from "../options.ts";
import type { Journal } from "../record/journal.ts";
import { askPeer, monitorOf, type Peer } from "./peer.ts";

/** Gives a command; returns why it was refused or went unanswered, or undefined. */
export async function tell(
  peer: Peer,
  command: string,
  args?: Readonly<Record<string, unknown>>,
): Promise<string | undefined> {
  try {
    const said: unknown = await (await monitorOf(peer, 2_000)).execute(command, args, { timeoutMs: 5_000 });
    // The human monitor has no errors, only words.
    if (command === "human-monitor-command" && /could ?n[o']t|error|invalid|not |unknown/i.test(String(said))) {
      return String(said).trim();
    }
    return undefined;
  } catch (error) {
    if (isCprkitError(error)) return error.message;
    throw error;
  }
}

/** Gives commands one after another. @returns what was refused or went unanswered, in words */
export async function tellAll(peer: Peer, steps: NonNullable<Journal["after"]>): Promise<string[]> {
  const problems: string[] = [];
  for (const { execute, arguments: args } of steps) {
    const problem = await tell(peer, execute, args);
    if (problem !== undefined)
      problems.push(`${execute} ${JSON.stringify(args ?? {})} failed, give it again: ${problem}`);
  }
  return problems;
}

/** Passwords of displays. @returns what was refused, in words without the password */
export async function givePasswords(peer: Peer, passwords: DisplayPasswords = {}): Promise<string[]> {
  const problems: string[] = [];
  for (const [protocol, password] of Object.entries(passwords)) {
    const problem = password === undefined ? undefined : await tell(peer, "set_password", { protocol, password });
    if (problem !== undefined) problems.push(`the password of ${protocol} was not taken, give it again: ${problem}`);
  }
  return problems;
}

/** The old QEMU has the guest again: it gets back what it had let go of. @returns what it could not get, in words */
export async function giveBack(source: Peer, journal: Journal): Promise<string[]> {
  const unrestored = await restoreSettings(source, journal);
  const taps = restoreTaps(source.identity, journal.taps ?? []);
  return [...unrestored, ...taps, ...(await tellAll(source, journal.undo ?? []))];
}

/**
 * Puts the migration settings of before the update back, as far as this QEMU answers and knows them; not while a
 * migration is under way, which then is another client's and would be changed by them.
 *
 * @returns why they were not, in words
 */
export async function restoreSettings(peer: Peer, journal: Journal): Promise<string[]> {
  const { mode, capabilities, parameters = {} } = journal.settings;
  const { alive, migration, silence } = await askPeer(peer);
  if (!alive) return [];
  const not = (why: string) => [
    `the migration settings of process ${peer.identity.pid} (mode ${journal.mode}) were not put back: ${why}`,
  ];
  if (silence !== undefined) return not(silence);
  if (isUnderWay(migration)) return not(`another client's migration is ${migration}`);
  // QEMU reads what it is told byte by byte, some microseconds each.
  const now = await settingsOf(peer);
  if ("problem" in now) return not(now.problem);
  const parameterList = Object.entries(parameters).filter(([name, value]) => now.parameters[name] !== value);
  const list = Object.entries(capabilities).filter(([name, state]) => now.capabilities.get(name) !== state);
  if (now.parameters["mode"] !== mode) await tell(peer, "migrate-set-parameters", { mode });
  // All at once; one by one where this QEMU does not know one of them.
  if (parameterList.length > 0) {
    const refused = await tell(peer, "migrate-set-parameters", Object.fromEntries(parameterList));
    for (const [name, value] of refused === undefined ? [] : parameterList) {
      await tell(peer, "migrate-set-parameters", { [name]: value });
    }
  }
  if (list.length > 0) {
    const states = list.map(([capability, state]) => ({ capability, state }));
    const refused = await tell(peer, "migrate-set-capabilities", { capabilities: states });
    for (const each of refused === undefined ? [] : states) {
      await tell(peer, "migrate-set-capabilities", { capabilities: [each] });
    }
  }
  return [];
}

/** How its migrations are set up now, or why it does not say. */
async function settingsOf(peer: Peer) {
  try {
    const qmp = await monitorOf(peer, 2_000);
    const [parameters, capabilities] = await Promise.all([
      qmp.execute("query-migrate-parameters", undefined, { timeoutMs: 5_000 }),
      qmp.execute("query-migrate-capabilities", undefined, { timeoutMs: 5_000 }),
    ]);
    const states = new Map(capabilities.map(({ capability, state }) => [capability, state]));
    return { parameters: parameters as Readonly<Record<string, unknown>>, capabilities: states };
  } catch (error) {
    if (isCprkitError(error)) return { problem: error.message };
    throw error;
  }
}
