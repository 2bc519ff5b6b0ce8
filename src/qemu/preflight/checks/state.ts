// Is the VM in a state that can be migrated, and does QEMU itself object?

import { getValue, isOn, parseKeyValues } from "../../command-line/parse.ts";
import { blocker, type Finding } from "../../finding.ts";
import { isUnderWay } from "../../vm/modes.ts";
import type { Facts } from "../facts.ts";

/** Run states that a migration may start from, and that the new QEMU takes over (QEMU 10.0 system/runstate.c). */
const goodStates = new Set(["running", "paused", "suspended", "prelaunch", "io-error", "guest-panicked"]);

const remedies: Readonly<Record<string, string>> = {
  inmigrate: "this QEMU waits for its own -incoming migration: let it finish, or name the QEMU that runs the guest",
  postmigrate: "this QEMU has given its guest away: name the QEMU that runs it now; quit this one if that is alive",
  shutdown: "the guest is shut down: simply start the new QEMU",
};

export function checkRunState({ runState, migrationStatus }: Facts): Finding[] {
  const findings: Finding[] = [];
  if (!goodStates.has(runState)) {
    const remedy = remedies[runState] ?? "wait until the VM is running or paused";
    findings.push(
      blocker("run-state", `the VM's run state is "${runState}": QEMU does not migrate it`, remedy, runState),
    );
  }
  if (isUnderWay(migrationStatus) && runState !== "inmigrate") {
    const message = `a migration of this VM is under way (status "${migrationStatus}")`;
    findings.push(blocker("migration-active", message, "wait until it ends, or cancel it (migrate_cancel)"));
  }
  return findings;
}

/** Those that a copy does without; they are on again afterwards. */
const switchedOff = ["mapped-ram", "multifd", "postcopy-ram"];

/** Capabilities that CPR refuses or that its channels can't carry (QEMU 10.0 migration/options.c, migration.c). */
const conflicting = ["postcopy-ram", "background-snapshot", "x-colo", "mapped-ram", "multifd"];

export function checkCapabilities({ capabilities, mode }: Facts): Finding[] {
  // To a file, as with cpr-reboot and cpr-exec, these two work.
  const fine = mode === "cpr-transfer" ? [] : mode === "copy" ? switchedOff : ["mapped-ram", "multifd"];
  return conflicting
    .filter((name) => capabilities.includes(name) && !fine.includes(name))
    .map((name) =>
      blocker(
        "capability-conflict",
        `the migration capability "${name}" is on; it does not go with ${mode}`,
        `switch it off: migrate-set-capabilities {"capabilities":[{"capability":"${name}","state":false}]}`,
        name,
      ),
    );
}

export function checkMode({ mode, abilities, migrationStatus, next, options }: Facts): Finding[] {
  const findings: Finding[] = [];
  // While a migration is under way the running QEMU is not asked.
  if (mode === "copy") return [];
  if (!isUnderWay(migrationStatus) && !abilities.modes.includes(mode)) {
    const others = abilities.modes.join(" or ");
    const remedy = others === "" ? "this QEMU must be restarted once with QEMU 10.0 or newer" : `use --mode ${others}`;
    findings.push(blocker("mode-unsupported", `the running QEMU does not know ${mode}`, remedy, mode));
  }
  if ("abilities" in next.said && !next.said.abilities.modes.includes(mode)) {
    const others = next.said.abilities.modes.filter((each) => abilities.modes.includes(each)).join(" or ");
    const remedy = others === "" ? "choose another new QEMU" : `use --mode ${others}, or another new QEMU`;
    findings.push(
      blocker("new-mode-unsupported", `the new QEMU, ${next.program}, does not know ${mode}`, remedy, mode),
    );
  }
  const sandbox = parseKeyValues(options.findLast(({ name }) => name === "sandbox")?.value ?? "");
  const on = (sandbox[0]?.[0] === "on" && sandbox[0][1] === undefined) || isOn(sandbox, "enable");
  if (mode === "cpr-exec" && on && getValue(sandbox, "spawn") === "deny") {
    const message = "-sandbox spawn=deny: the kernel will refuse the exec by which cpr-exec starts the new QEMU";
    findings.push(blocker("sandbox", message, "use --mode cpr-transfer"));
  }
  return findings;
}

/** QEMU's own blockers, but for the memory regions that `explained` has named already. */
export function checkQemuBlockers({ blockedReasons, auxRamShare, backends }: Facts): Finding[] {
  const ids = new Set(backends.map(({ id }) => id));
  const isExplained = (reason: string) => {
    const region = /^Memory region (.*) is not compatible with CPR\./.exec(reason)?.[1];
    if (region === undefined) return false;
    const backend = backends.find(({ id }) => id === region.replace(/^\/objects\//, ""));
    return backend === undefined ? auxRamShare === false && !ids.has(region) : backend.share !== true;
  };
  return (blockedReasons ?? [])
    .filter((reason) => !isExplained(reason))
    .map((reason) =>
      blocker(
        "qemu-blocker",
        `QEMU reports: ${reason}`,
        "take away what it names (unplug, unmount), then look again",
        reason,
      ),
    );
}
