// What was set in a running QEMU and is no device: trace events are switched on again; passwords and the watchdog's
// action QEMU does not tell; and a TPM emulator serves the old QEMU as long as that one lives.

import { objectParts } from "../command-line/monitors.ts";
import { getValue } from "../command-line/parse.ts";
import { blocker, type Finding, warning } from "../finding.ts";
import type { CarryInput, CarryPlan } from "./subject.ts";

export function carrySettings(input: CarryInput): Pick<CarryPlan, "carried" | "findings" | "after"> {
  const { traceEvents = [] } = input.machine;
  return {
    carried: traceEvents.map((name) => ({ subject: name, what: `trace event ${name}: on` })),
    findings: [...passwords(input), ...watchdogs(input), ...emulatedTpms(input)],
    after: traceEvents.map((name) => ({ execute: "trace-event-set-state", arguments: { name, enable: true } })),
  };
}

function passwords({ machine, options }: CarryInput): Finding[] {
  // A secret of the command line is there again.
  const isGiven = (option: string) =>
    options.some(({ name, value = "" }) => name === option && /(^|,)password(-secret)?=(?!on|off)/.test(value));
  const vnc = machine.vnc.filter((server) => /vnc/.test(`${server.auth} ${String(server["vencrypt"] ?? "")}`));
  const { auth } = (machine.spice ?? {}) as { readonly auth?: unknown };
  return [
    ...(vnc.length > 0 && !isGiven("vnc") ? [password("vnc", vnc.map(({ id }) => id).join(", "))] : []),
    ...(auth === "spice" && !isGiven("spice") ? [password("spice", "the display")] : []),
  ];
}

function password(protocol: "vnc" | "spice", which: string): Finding {
  const message = `${protocol.toUpperCase()} of ${which} asks for a password that QEMU does not tell: nobody can log in after the update`;
  const remedy = `name a file with it: --${protocol}-password-file FILE, or give it again after (set_password)`;
  return warning("password", message, remedy, protocol);
}

function watchdogs({ machine, options }: CarryInput): Finding[] {
  const given = options.flatMap(({ name, value = "" }) =>
    name === "watchdog-action" ? value : name === "action" ? (getValue(objectParts(value), "watchdog") ?? []) : [],
  );
  return machine.devices
    .filter(({ type }) => /^(i6300esb|ib700|diag288|sbsa-gwdt)$/.test(type))
    .map(({ id, type }) => {
      const message = `${type}: QEMU does not tell whether watchdog-set-action was given; the new QEMU does what its command line says (${given.at(-1) ?? "reset"})`;
      return warning(
        "watchdog-action",
        message,
        "give watchdog-set-action again after the update if it was",
        id ?? type,
      );
    });
}

/** It takes one connection, by which it also knows when its VM has ended (swtpm 0.7). */
function emulatedTpms({ machine, options }: CarryInput): Finding[] {
  const devices = machine.devices.filter(({ options: own }) => own["tpmdev"] !== undefined);
  return devices.flatMap(({ options: own }) => {
    const parts = options.flatMap(({ name, value = "" }) => (name === "tpmdev" ? [objectParts(value)] : []));
    const back = parts.find((each) => getValue(each, "id") === own["tpmdev"]);
    if (back !== undefined && (getValue(back, "type") ?? back[0]?.[0]) !== "emulator") return [];
    const message = `TPM ${own["tpmdev"]}: its emulator (swtpm) serves the running QEMU alone, and the new one would wait for it`;
    const remedy =
      "start a second swtpm with an empty state folder, and give the whole new command line, with its socket, after --: " +
      "the content comes with the guest";
    return [blocker("tpm-emulator", message, remedy, String(own["tpmdev"]))];
  });
}
