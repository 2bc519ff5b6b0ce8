// Has the new QEMU all that this VM is made of?

import { machineOf } from "../../command-line/derive.ts";
import { objectParts } from "../../command-line/monitors.ts";
import { getValue } from "../../command-line/parse.ts";
import { blocker, type Finding, warning } from "../../finding.ts";
import { compareVersions, resolveMachine, versionText } from "../../vm/binary.ts";
import type { BinaryAnswer } from "../../vm/probe.ts";
import type { StateDifference } from "../device-states.ts";
import type { Facts } from "../facts.ts";

export function checkNewQemu(facts: Facts): Finding[] {
  const { said, program } = facts.next;
  if ("error" in said) {
    // Nothing was started: checkRights says why.
    if (said.error.code === "ERR_UPDATE_REFUSED") return [];
    const remedy = "name the new QEMU's program with --qemu; try to start it by hand";
    return [blocker("new-unusable", said.error.reason, remedy, program)];
  }
  return [
    ...checkMachine(facts, said),
    ...checkModels(facts, said),
    ...checkDirection(facts, said),
    ...checkStates(facts),
  ];
}

function checkMachine({ machine, options, abilities, next }: Facts, { abilities: there }: BinaryAnswer) {
  const version = versionText(there.version);
  if (!there.machines.some(({ name }) => name === machine)) {
    const message = `machine type ${machine} does not exist in the new QEMU ${version} (${next.program})`;
    const remedy = "choose a QEMU that has it: a newer one, or one that has not dropped it yet";
    return [blocker("machine-missing", message, remedy, machine)];
  }
  const findings: Finding[] = [];
  const asked = machineOf(options);
  const meant = resolveMachine(there.machines, asked);
  if (meant !== machine) {
    const name = asked === undefined ? "no -machine type" : `-machine ${asked}`;
    findings.push(
      warning(
        "machine-alias",
        `the command line says ${name}: ${machine} here, but ${meant ?? "nothing"} in the new QEMU ${version}`,
        `cprkit update writes ${machine} instead; in a command line of your own, write it yourself`,
        machine,
      ),
    );
  }
  if (!/-v?\d+\.\d+/.test(machine) && compareVersions(abilities.version, there.version) !== 0) {
    const message = `machine type ${machine} has no version: QEMU does not promise that ${version} loads its state`;
    findings.push(warning("machine-unversioned", message, "try it on a VM that does not matter first", machine));
  }
  return findings;
}

function checkModels({ devices, options, accelerator, next }: Facts, there: BinaryAnswer): Finding[] {
  const missing = [...new Set(devices.map(({ type }) => type))].filter(
    // CPUs can be plugged in, but are not in the list of -device on every target.
    (type) => !there.devices.has(type) && !type.endsWith("-cpu"),
  );
  const objects = options.flatMap(({ name, value }) => {
    if (name !== "object" || value === undefined) return [];
    const parts = objectParts(value);
    return [getValue(parts, "qom-type") ?? parts[0]?.[0] ?? ""];
  });
  return [
    ...missing.map((type) =>
      blocker(
        "device-missing",
        `device model ${type} does not exist in the new QEMU (${next.program})`,
        "install the package with that module, choose another QEMU, or unplug the device",
        type,
      ),
    ),
    ...[...new Set(objects)]
      .filter((type) => !there.objects.has(type))
      .map((type) =>
        blocker(
          "object-missing",
          `object type ${type} does not exist in the new QEMU (${next.program})`,
          "install the package with that module, or choose another QEMU",
          type,
        ),
      ),
    ...(accelerator === undefined || there.accelerators.has(accelerator)
      ? []
      : [
          blocker(
            "accelerator-missing",
            `the VM runs with ${accelerator}, which the new QEMU (${next.program}) does not have`,
            "choose a QEMU that was built with it",
            accelerator,
          ),
        ]),
  ];
}

function checkDirection({ abilities, mode }: Facts, { abilities: there }: BinaryAnswer): Finding[] {
  if (compareVersions(there.version, abilities.version) >= 0) return [];
  const [from, to] = [versionText(abilities.version), versionText(there.version)];
  if (mode === "cpr-exec") {
    const message = `the new QEMU ${to} is older than the running ${from}: with cpr-exec nobody can write the CPR state for it`;
    return [blocker("downgrade-exec", message, "use --mode cpr-transfer", to)];
  }
  const own =
    mode === "cpr-transfer"
      ? "; QEMU alone may refuse the CPR state, cprkit's tap writes it for the older version"
      : "";
  const message = `the new QEMU ${to} is older than the running ${from}: it may not know all of the devices' states${own}`;
  const remedy = "keep the running version's package until the guest has run for a while";
  return [warning("going-back", message, remedy, to)];
}

function checkStates({ stateDifferences, next }: Facts): Finding[] {
  const remedy = "if the update fails for it, the guest runs on in the running QEMU; unplug the device, or stay";
  if (!Array.isArray(stateDifferences)) {
    const why = "message" in stateDifferences ? stateDifferences.message : "";
    return [warning("device-state", `the devices' states could not be compared: ${why}`, remedy)];
  }
  return stateDifferences.map(({ device, problems, certain }: StateDifference) => {
    const [first = ""] = problems;
    const more = problems.length === 1 ? "" : `, and ${problems.length - 1} more`;
    const message = `${device}: its state ${certain ? "does" : "may"} not load in ${next.program}: ${first}${more}`;
    return (certain ? blocker : warning)("device-state", message, remedy, device);
  });
}
