// Character devices that were added, removed or given another back end since the VM's start. QEMU tells where a socket
// is; of other kinds it tells the kind alone.

import { idOf, isWhole } from "../command-line/monitors.ts";
import {
  type CommandOption,
  formatKeyValues,
  getValue,
  type KeyValues,
  parseKeyValues,
} from "../command-line/parse.ts";
import { blocker, type Finding } from "../finding.ts";
import type { Machine } from "../machine/schema.ts";
import type { Carried, CarryInput, CarryPlan } from "./subject.ts";

/** -chardev for each that the VM has now, under its label. */
export function carryChardevs({ machine, options }: CarryInput): Pick<CarryPlan, "options" | "carried" | "findings"> {
  const running = machine.chardevs.map(({ label, filename }) => chardevOf(machine, label, filename));
  const byLabel = new Map(running.map((one) => [one.label, one]));
  const labels = new Set(options.flatMap((option) => (option.name === "chardev" ? idOf(option) : [])));
  // What is in a file of -readconfig may be from there.
  const isSeen = isWhole(options);
  const made = running.filter(({ label }) => isSeen && !labels.has(label) && !isMadeByQemu(label, options));
  const carried: Carried[] = [];
  const findings: Finding[] = [];
  const add = (one: Chardev, what: string): CommandOption[] => {
    const parts = optionOf(one);
    if (parts === undefined) {
      findings.push(refused(one, what));
      return [];
    }
    carried.push({ subject: one.label, what: `character device ${one.label} (${one.kind}): ${what} since the start` });
    return [{ name: "chardev", value: formatKeyValues(parts) }];
  };
  const kept = options.flatMap((option): CommandOption[] => {
    if (option.name !== "chardev" || option.value === undefined) return [option];
    const label = idOf(option);
    const one = byLabel.get(label);
    if (one === undefined) {
      carried.push({ subject: label, what: `character device ${label}: removed since the start` });
      return [];
    }
    return isSame(option.value, one) ? [option] : add(one, "changed");
  });
  return { options: [...kept, ...made.flatMap((one) => add(one, "added"))], carried, findings };
}

interface Chardev {
  readonly label: string;
  /** Such as "socket". */
  readonly kind: string;
  readonly filename: string;
  /** Of a socket. */
  readonly path: string | undefined;
  readonly host: string | undefined;
  readonly port: string | undefined;
}

function chardevOf({ qom }: Machine, label: string, filename: string): Chardev {
  const object = qom.find(({ path }) => path === `/chardevs/${label}`);
  const address = (object?.properties["addr"] ?? {}) as Readonly<Record<string, unknown>>;
  const text = (name: string) => (address[name] === undefined ? undefined : String(address[name]));
  const kind = (object?.type ?? "").replace(/^chardev-/, "");
  return { label, kind, filename, path: text("path"), host: text("host"), port: text("port") };
}

/** Of -serial, -monitor and the like, of a multiplexer, of a display; "#chr012" has no name. */
function isMadeByQemu(label: string, options: readonly CommandOption[]): boolean {
  if (/^(serial|parallel|compat_monitor|vc)\d+$|^(debugcon|gdb)$|^#/.test(label)) return true;
  const base = /^(.*)-base$/.exec(label)?.[1];
  return base !== undefined && (isMadeByQemu(base, options) || options.some((option) => idOf(option) === base));
}

/** Whether the option makes what is there: of the same kind, a socket at the same place. */
function isSame(value: string, { kind, path }: Chardev): boolean {
  const parts = parseKeyValues(value);
  const given = parts[0]?.[1] === undefined ? (parts[0]?.[0] ?? "") : (getValue(parts, "backend") ?? "");
  // With mux=on the name is the multiplexer's.
  if (kind === "" || kind === "mux") return true;
  if ((aliases[given] ?? given) !== kind) return false;
  const place = getValue(parts, "path");
  return kind !== "socket" || place === undefined || path === undefined || place === path || path.endsWith(`/${place}`);
}

const aliases: Readonly<Record<string, string>> = { tty: "serial", parport: "parallel", memory: "ringbuf" };

function optionOf({ label, kind, filename, path, host, port }: Chardev): KeyValues | undefined {
  const id = ["id", label] as const;
  if (["null", "pty", "ringbuf", "msmouse", "wctablet", "testdev", "vc"].includes(kind)) return [[kind, undefined], id];
  if (kind !== "socket") return undefined;
  const [, state = "", protocol] = /^(disconnected:)?(\w+):/.exec(filename) ?? [];
  const isServer = filename.includes(",server=on");
  const how = isServer ? serverParts : state === "" ? [] : waitingParts;
  if (protocol === "unix" && path !== undefined) return [["socket", undefined], id, ["path", path], ...how];
  if (host === undefined || port === undefined) return undefined;
  if (protocol !== "tcp" && protocol !== "telnet" && protocol !== "websocket") return undefined;
  const flag = protocol === "tcp" ? [] : [[protocol, "on"] as const];
  return [["socket", undefined], id, ["host", host], ["port", port], ...flag, ...how];
}

const serverParts: KeyValues = [
  ["server", "on"],
  ["wait", "off"],
];

/** One that has no peer now and is still there connects again by itself; how often, QEMU does not tell. */
const waitingParts: KeyValues = [["reconnect-ms", "1000"]];

function refused({ label, kind }: Chardev, what: string): Finding {
  const message = `character device ${label} (${kind}) was ${what} since the start, and QEMU does not tell how it was set up`;
  const remedy = "remove it for the update (chardev-remove), or give the whole new command line after --";
  return blocker("options-unseen", message, remedy, label);
}
