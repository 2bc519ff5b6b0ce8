// What QEMU, libvirt and the kernel say when a load fails, and what each means. Texts as QEMU 7.2, 10.0 and 11.1 have them
// (migration/*.c, hw/pci/pci.c, hw/virtio/*.c), and older ones where they are in old logs.

import { walkFields } from "../fields.ts";
import type { Migration, Section } from "../model.ts";
import { sectionLabel } from "../paths.ts";
import type { Cause } from "./cause.ts";
import { explainConfig } from "./pci.ts";
import { explainBlockSize, explainUnknownBlock } from "./ram.ts";
import { explainFeatures } from "./virtio.ts";

/** What other lines of the same failure, and the stream, say. */
export interface Context {
  /** The device, as the stream's section names it: "0000:00:02.0/virtio-net", "serial(1)". */
  readonly section: string | undefined;
  /** The field that could not be loaded. */
  readonly field: string | undefined;
  readonly stream: Migration | undefined;
}

/** All causes that are known. Append only: programs compare with them. */
export const explanationCodes = [
  "missing-footer",
  "wrong-footer",
  "footer-cut",
  "unknown-section",
  "unknown-ram-block",
  "ram-size",
  "ram-page-size",
  "pci-config",
  "virtio-features",
  "virtio-queue",
  "uuid",
  "not-equal",
  "run-state",
  "machine-type",
  "capability",
  "too-new",
  "too-old",
  "not-a-stream",
  "bad-section",
  "bad-ram",
  "subsystem-ids",
  "input-ends",
  "connection-lost",
  "cpu-features",
  "cpu-msr",
  "tsc",
  "file-locked",
  "not-migratable",
  "cpr-memory",
  "cpr-device",
  "cpr-channel",
  "cpr-state",
  "post-load",
  "field",
  "assertion",
  "other-log",
  "unknown",
] as const;

/** One of {@link explanationCodes}. */
export type ExplanationCode = (typeof explanationCodes)[number];

/** A message that is known. */
export interface Rule {
  readonly code: ExplanationCode;
  readonly pattern: RegExp;
  /** The section that the message itself names. */
  section?(match: RegExpExecArray): string;
  explain(match: RegExpExecArray, context: Context): Cause;
}

const sameDevices =
  "start the destination with the same devices at the same addresses, with the same properties and machine type; what was hot-plugged into the source belongs on its command line";
const compare =
  "`cprkit check STREAM DUMP` compares a stream with what a QEMU would load (qemu -M TYPE -dump-vmstate DUMP)";

/** In the order in which they are tried. */
export const rules: readonly Rule[] = [
  {
    code: "missing-footer",
    pattern: /Missing section footer for (\S+)/,
    section: ([, name = ""]) => name,
    explain: (_, { section }) => ({
      what: "its state was read, but the stream has more, or less, of it",
      why: section?.endsWith("piix4_pm")
        ? "the two QEMUs write the power management of the PC with different fields: acpi-pci-hotplug-with-bridge-support and acpi-root-pci-hotplug change them, and QEMUs around 6.2 and 7.0 (and packages made of them) differ in when they send the ACPI index of PCI devices"
        : "the two devices do not have the same fields, or arrays of other lengths: a property that sets how many there are (ports, slots, outputs) differs, or one QEMU has a bug in this device",
      remedy: `give the device the same properties on both sides; ${compare}; if they are the same, one of the two QEMUs needs an update`,
    }),
  },
  {
    code: "wrong-footer",
    pattern: /Mismatched section id in footer for (\S+) - read (\S+) expected (\S+)/,
    section: ([, name = ""]) => name,
    explain: ([, , read, expected]) => ({
      what: `its state ends with the mark of section ${read}, not of ${expected}`,
      why: "its fields were read with wrong lengths, or the stream is damaged",
      remedy: `give the device the same properties on both sides; \`cprkit inspect STREAM\` says whether the stream itself is sound; ${compare}`,
    }),
  },
  {
    code: "footer-cut",
    pattern: /Read section footer failed:? ?(-?\d+)?/,
    explain: ([, number]) => ({
      what: `the mark at the end of a section could not be read${number === undefined ? "" : ` (${errorText(number)})`}`,
      why: "the stream ends here: the source, or the connection, went away, or the file is cut",
      remedy: "look at the source's log for the reason; `cprkit inspect STREAM` shows where a file is cut",
    }),
  },
  {
    code: "unknown-section",
    pattern: /Unknown (?:savevm )?section or instance '([^']+)' (\d+)/,
    section: ([, name = "", instance]) => sectionLabel({ name, instance: Number(instance) }),
    explain: ([, name = "", instance], { stream }) => {
      const { why, remedy } = missingSection(name, Number(instance), stream);
      return {
        what: "the stream has the state of this device, and the destination has no such device there",
        why,
        remedy,
      };
    },
  },
  {
    code: "unknown-ram-block",
    pattern: /Unknown ramblock "([^"]+)"|RAMBlock '([^']+)' not found on destination/,
    section: () => "ram",
    explain: ([, name, other]) => explainUnknownBlock(name ?? other ?? ""),
  },
  {
    code: "ram-size",
    pattern: /(?:Size|Length) mismatch: (.+?): (0x[\da-f]+|\d+)(?: in)? != (0x[\da-f]+|\d+)/i,
    section: () => "ram",
    explain: ([, name = "", saved = "0", own = "0"]) => explainBlockSize(name, BigInt(saved), BigInt(own)),
  },
  {
    code: "ram-size",
    pattern: /(\S+) backing store size (0x[\da-f]+) is too small for 'size' option (0x[\da-f]+)/i,
    section: () => "ram",
    explain: ([, name = "", saved = "0", own = "0"]) => explainBlockSize(name, BigInt(saved), BigInt(own)),
  },
  {
    code: "ram-page-size",
    pattern:
      /(Received TARGET_PAGE_BITS is (\d+) but local is (\d+)|Mismatched RAM page size (\S+) .*|Mismatched GPAs for block .*)/,
    explain: ([, text = ""]) => ({
      what: `page sizes or addresses of guest RAM differ (${text})`,
      why: "the CPU model, or the backing of RAM (hugetlbfs), is another one",
      remedy: "use the source's CPU model, machine type and memory backends",
    }),
  },
  {
    code: "pci-config",
    pattern: /Bad config data: i=0x([\da-f]+) read: ([\da-f]+) device: ([\da-f]+) cmask: [\da-f]+/i,
    explain: ([, at = "0", saved = "0", own = "0"], { section, stream }) =>
      explainConfig({ at: byte(at), saved: byte(saved), own: byte(own) }, section, sectionIn(stream, section)),
  },
  {
    code: "virtio-features",
    pattern: /Features (0x[\da-f]+) unsupported\. Allowed features: (0x[\da-f]+)/i,
    explain: ([, used = "0", allowed = "0"], { section, stream }) =>
      explainFeatures(BigInt(used) | guestFeatures(sectionIn(stream, section)), BigInt(allowed), section),
  },
  {
    code: "virtio-queue",
    pattern: /VQ (\d+) (?:vring\.num (\d+) exceeds allocated max (\d+)|(size .*))/,
    explain: ([, queue, saved, own, rest]) =>
      rest === undefined
        ? {
            what: `its queue ${queue} has ${saved} entries in the stream, and room for ${own} here`,
            why:
              own === "0" ? "the destination's device has fewer queues" : "the destination's device has shorter queues",
            remedy:
              own === "0"
                ? "give the device the source's number of queues (num-queues, num_queues, queues of the netdev with mq=on)"
                : `give the device queue-size=${saved} (rx_queue_size and tx_queue_size of a network card)`,
          }
        : {
            what: `its queue ${queue} does not fit guest memory (${rest})`,
            why: "what the device says of the queue and what the guest's memory says differ: memory or device come from another moment, or one of the two QEMUs has a bug",
            remedy: "save again; if it happens again, update QEMU and the backend (vhost, vhost-user) of this device",
          },
  },
  {
    code: "uuid",
    pattern: /UUID (?:received is|is received) (\S+?),? (?:and local is (\S+)|but local uuid isn't set)/,
    section: () => "configuration",
    explain: ([, saved, own]) => ({
      what: `the stream is of the machine with UUID ${saved}, and this one has ${own ?? "none"}`,
      why: "the capability validate-uuid is on, and it is the state of another machine, or -uuid differs",
      remedy: `give the destination -uuid ${saved}, if it is this machine; else load the right stream`,
    }),
  },
  {
    code: "not-equal",
    pattern: /^(0x[\da-f]+|[\da-f]+) != (0x[\da-f]+|[\da-f]+)\b/i,
    explain: ([, own = "", saved = ""], { field }) => ({
      what: `${field === undefined ? "a value that must be equal" : `its value ${field}`} is 0x${bare(saved)} in the stream and 0x${bare(own)} here`,
      why: `the device refuses the load if this value differs: it is set when the device is made${field === undefined ? "" : ` (${lastName(field)})`}`,
      remedy: "give the device the source's value; the property often has the field's name (such as max_outputs)",
    }),
  },
  {
    code: "run-state",
    pattern: /invalid (?:parameter value|run ?state):? ?(\S*)|(?:Unknown|Received invalid) run ?state:? ?(\S*)/i,
    section: () => "globalstate",
    explain: ([, name, other]) => ({
      what: `the stream says that the machine was in the state "${name || other || "?"}", which this QEMU does not know`,
      why: "the state's name is not one of QEMU's run states: the stream was changed or damaged, or another program than QEMU wrote it",
      remedy: "`cprkit inspect STREAM --section globalstate` shows it; save again, or set it to running or paused",
    }),
  },
  {
    code: "machine-type",
    pattern: /Machine type received is '([^']*)' and local is '([^']*)'/,
    section: () => "configuration",
    explain: ([, saved = "", own = ""]) => ({
      what: `the stream is of the machine type ${saved}, and this machine is ${own}`,
      why: "a machine type fixes what the guest sees; names without a version (pc, q35) mean another one in each QEMU",
      remedy: `start the destination with -machine ${saved}; where this QEMU no longer has it, only a QEMU that does can load it`,
    }),
  },
  {
    code: "capability",
    pattern: /Capability (\S+) is (on|off), but received capability is (on|off)|Received unknown capability (\S+)/,
    section: () => "configuration",
    explain: ([, name, own, saved, unknown]) =>
      unknown === undefined
        ? {
            what: `the migration capability ${name} is ${saved} in the stream and ${own} here`,
            why: "it changes how RAM is written: both sides need it alike",
            remedy: `set it on the destination before the load: migrate-set-capabilities {"capability":"${name}","state":${saved === "on"}} (start with -incoming defer)`,
          }
        : {
            what: `the stream was written with the migration capability ${unknown}, which this QEMU does not know`,
            why: "the source's QEMU is newer",
            remedy: "load it with a QEMU that is as new, or save without the capability",
          },
  },
  {
    code: "too-new",
    pattern:
      /unsupported version (\d+) for '([^']+)' v(\d+)|(\S+): incoming version_id (\d+) is too new for local version_id (\d+)/,
    section: ([, , name, , other]) => name ?? other ?? "",
    explain: ([, version, , own, , otherVersion, otherOwn]) => ({
      what: `its state has version ${version ?? otherVersion}, and this QEMU knows versions up to ${own ?? otherOwn}`,
      why: "the source's QEMU is newer, or its machine type is",
      remedy:
        "load it with a QEMU that is as new as the source, or run the source with an older versioned machine type from the start",
    }),
  },
  {
    code: "too-old",
    pattern: /(\S+): incoming version_id (\d+) is too old for local minimum version_id\s+(\d+)/,
    section: ([, name = ""]) => name,
    explain: ([, , version, own]) => ({
      what: `its state has version ${version}, and this QEMU knows versions from ${own} on`,
      why: "the stream is from a QEMU so old that this one no longer reads it",
      remedy: "load it with a QEMU in between, save there with a newer machine, and go on from that",
    }),
  },
  {
    code: "not-a-stream",
    pattern: /Not a migration stream|Unsupported migration stream version|SaveVM v2 format is obsolete/,
    explain: ([text = ""]) => ({
      what: "what came is not a migration stream that this QEMU reads",
      why: text.includes("v2")
        ? "it is in the format of QEMU before 0.11"
        : "it is empty, compressed, behind something else (libvirt's header, an offset), or another file",
      remedy:
        "`cprkit inspect FILE` says what it is, and where a stream in it begins (for -incoming file:PATH,offset=N)",
    }),
  },
  {
    code: "bad-section",
    pattern: /Unknown (?:savevm )?section (?:type )?(\d+)\b|Unable to read ID string for section|Unknown section type/,
    explain: () => ({
      what: "a section was expected, and something else came",
      why: "the device before it was read with a wrong length, or the stream is damaged",
      remedy: `\`cprkit inspect STREAM\` says whether the stream itself is sound, and at which byte it is not; ${compare}`,
    }),
  },
  {
    code: "bad-ram",
    pattern:
      /Unknown combination of migration flags: (\S+)|Illegal RAM offset (\S+)|Failed to decompress|XBZRLE|RAM block (?:.*)corrupt/i,
    section: () => "ram",
    explain: () => ({
      what: "a page of guest RAM is not written as this QEMU reads it",
      why: "RAM's capabilities (xbzrle, compress, multifd, mapped-ram) differ on the two sides, or the stream is damaged",
      remedy:
        "set the same migration capabilities on both sides before the load; `cprkit inspect STREAM` says whether the stream is sound",
    }),
  },
  {
    code: "subsystem-ids",
    pattern: /Cannot migrate while device properties \(subsys\/subsys_ven\) differ/,
    explain: () => ({
      what: "its subsystem ids differ from the source's",
      why: "the properties subsys and subsys_ven of the card are checked after the load",
      remedy: "set subsys= and subsys_ven= as the source had them",
    }),
  },
  {
    code: "cpu-features",
    pattern:
      /guest CPU doesn't match specification: (missing|extra) features: ([\w.,-]+)|(?:Host|TCG) doesn't support requested features?: (.*)/,
    section: () => "cpu",
    explain: ([, kind, features = "", alone]) => ({
      what: `the guest's CPU has features that this host does not give: ${(alone ?? features).replaceAll(",", ", ")}${kind === "extra" ? " (more than the guest had)" : ""}`,
      why: "the two hosts have other CPUs, microcode, kernels or module options (kvm_intel nested=…), and the CPU model follows the host",
      remedy:
        "use a named CPU model that all hosts have (instead of host, host-model or max), or leave these features out of it; a guest that runs must be restarted for that",
    }),
  },
  {
    code: "cpu-msr",
    pattern: /failed to set MSR (0x[\da-f]+) to (0x[\da-f]+)/i,
    section: () => "cpu",
    explain: ([, msr, value]) => ({
      what: `the kernel refused to set the CPU's register MSR ${msr} to ${value}`,
      why: "this host's CPU, microcode or kernel does not have what the guest's CPU had on the source",
      remedy:
        "use a CPU model that both hosts have, and the same kernel and microcode; the number of the MSR tells the feature",
    }),
  },
  {
    code: "tsc",
    pattern:
      /TSC frequency mismatch between VM \((\d+) kHz\) and host \((\d+) kHz\)|Mismatch between user-specified TSC frequency/,
    section: () => "cpu",
    explain: ([, guest, host]) => ({
      what:
        guest === undefined
          ? "the time stamp counter was set to another frequency"
          : `the guest's time stamp counter runs at ${guest} kHz, and the host's at ${host} kHz`,
      why: "this host can't scale it, and the guest was promised that it does not change (invtsc)",
      remedy:
        "move it to a host with TSC scaling or the same frequency, or run it without invtsc; tsc-frequency= must be equal on both sides",
    }),
  },
  {
    code: "file-locked",
    pattern: /Failed to (?:get|lock) (?:"?(?:shared )?"?([\w ]+)"? lock|byte \d+)/,
    explain: () => ({
      what: "an image is locked by another program",
      why: "the source, or an old QEMU of this machine, still has the disk open for writing; or the file system's locks do not reach the other host",
      remedy:
        "see that the source has stopped and given up its disks, and that no other QEMU uses the image (lsof, qemu-img info)",
    }),
  },
  {
    code: "not-migratable",
    pattern:
      /State blocked by non-migratable device '([^']+)'|Migration is disabled when ([^\n]*)|Device '?([^' ]+)'? (?:is|does) not (?:migratable|support migration)/i,
    section: ([, name, , other]) => name ?? other ?? "",
    explain: ([text = ""]) => ({
      what: `the source can't be migrated: ${text}`,
      why: "a device, or what is on, has state that QEMU can't save",
      remedy:
        "take the device away for the time of the migration (device_del), or switch off what is named; query-migrate lists blocked-reasons",
    }),
  },
  {
    code: "cpr-memory",
    pattern: /Memory region (\S+) (is not compatible with CPR|uses guest_memfd)/,
    explain: ([, name, text]) => ({
      what: `the memory "${name}" can't be kept over a live update (CPR)`,
      why:
        text?.startsWith("uses") === true
          ? "guest_memfd has no fd that could be handed over"
          : "it is private memory of the old process",
      remedy:
        "start the machine with share=on on its memory backends and -machine aux-ram-share=on; `cprkit update --mode copy` takes a machine that runs over to that once",
    }),
  },
  {
    code: "cpr-device",
    pattern:
      /Cannot use (\S+) with CPR|CPR does not support ([^\n]*)|VFIO device only supports cpr-reboot for runstate suspended|vfio[^\n]*cpr/i,
    explain: ([text = ""]) => ({
      what: `a device can't be kept over a live update (CPR): ${text}`,
      why: "the device's fds can't be handed to the new process in this mode",
      remedy: "`cprkit preflight` says which modes work for this machine, and what each device needs",
    }),
  },
  {
    code: "cpr-channel",
    pattern:
      /bad cpr channel|cpr-exec mode requires setting cpr-exec-command|'cpr-exec-command' required|missing cpr channel|cpr channel/i,
    explain: ([text = ""]) => ({
      what: `CPR was not set up: ${text}`,
      why: "cpr-transfer needs a second channel, a UNIX socket (-incoming with channel-type cpr); cpr-exec the new command line (cpr-exec-command)",
      remedy: "see docs/cpr.md, or let `cprkit update` do it",
    }),
  },
  {
    code: "cpr-state",
    pattern:
      /CprState|vmstate_load_state\(?\)? error|failed to (?:load|read) cpr state|not a cpr (?:stream|state)|cpr_state_load|cpr fd/i,
    explain: () => ({
      what: "the state of CPR, with the fds, could not be read",
      why: "the two QEMUs write it differently (11.0 and newer have another form than 10.0), or not all fds came along",
      remedy:
        "`cprkit convert STATE --for VERSION` writes it for another QEMU, `cprkit tap --for VERSION` while it passes; `cprkit inspect STATE` shows what is in it",
    }),
  },
  {
    code: "assertion",
    pattern: /(\S+): (\S+): Assertion [`'](.*)['`] failed/,
    explain: ([, file, routine, condition]) => ({
      what: `QEMU ended itself in ${routine} (${file}): ${condition}`,
      why: "a state came that its programmers held to be impossible: a bug of QEMU, or a stream that does not fit the machine",
      remedy: `try the newest release of this QEMU; ${compare}`,
    }),
  },
  {
    code: "connection-lost",
    pattern:
      /(?:Unable to (?:write to|read from) socket|Failed to (?:read|write|send)[^:]*): (?:Broken pipe|Connection reset by peer|Bad file descriptor|Connection timed out)|Connection (?:reset by peer|timed out)|Broken pipe/,
    explain: ([text = ""]) => ({
      what: `the other side went away (${text})`,
      why: "this is the consequence: the reason is in the other QEMU's log",
      remedy:
        "look at the log of the other host (libvirt: /var/log/libvirt/qemu/NAME.log), and give that to `cprkit explain`",
    }),
  },
  {
    code: "connection-lost",
    pattern: /Failed to connect to '([^']+)': (?:No such file or directory|Connection refused)/,
    explain: ([, path]) => ({
      what: `nobody listens at ${path}`,
      why: "the other QEMU has ended, or was not started with this -incoming",
      remedy: "look at the other QEMU's log, and give that to `cprkit explain`",
    }),
  },
  {
    code: "other-log",
    pattern:
      /migration (?:out )?job: unexpectedly failed|qemu unexpectedly closed the monitor|migration aborted|Live migration failed|failed: VM not running|domain is not running/i,
    explain: ([text = ""]) => ({
      what: `the migration failed, and this log does not say why (${text})`,
      why: "it is the log of libvirt, KubeVirt or Proxmox VE, which see only that QEMU is gone",
      remedy:
        "look at the destination's QEMU log (/var/log/libvirt/qemu/NAME.log, the log of the target's virt-launcher pod, the task's log on the target node)",
    }),
  },
];

function missingSection(name: string, instance: number, stream: Migration | undefined): Pick<Cause, "why" | "remedy"> {
  const device = name.slice(name.lastIndexOf("/") + 1);
  const path = name.slice(0, Math.max(0, name.lastIndexOf("/")));
  const of = (why: string, remedy: string) => ({ why, remedy });
  if (name === "cpu_common" || name === "cpu" || name === "apic" || name === "kvm-tpr-opt") {
    const cpus = stream?.sections.filter((one) => one.name === "cpu_common").length ?? instance + 1;
    return of(
      "the source had more CPUs",
      `give the destination as many: -smp ${cpus}${stream === undefined ? " at least" : ""}, with those that were hot-plugged`,
    );
  }
  if (name === "slirp")
    return of(
      "the source had a user network (-netdev user), which has state of its own",
      "give the destination the same -netdev user",
    );
  if (name === "hpet") return of("the source had the timer HPET", "start the destination with -machine hpet=on");
  if (name === "serial" || name === "parallel") {
    return of(
      "the source had one more port of this kind",
      `add it: -device isa-${name}, or -serial; the default is one without -nodefaults`,
    );
  }
  if (name === "dirty-bitmap")
    return of(
      "dirty bitmaps were sent (capability dirty-bitmaps)",
      "switch the capability on at the destination, and give its disks the same node names",
    );
  if (/usb/.test(device) && path !== "") {
    return of(
      `a USB device ("${device}") was at port ${path.slice(path.lastIndexOf("/") + 1)} of its bus`,
      `add it at the same port (port=), or another kind of device is there now; ${sameDevices}`,
    );
  }
  if (/^[\da-f]{4}:[\da-f]{2}:/.test(path)) {
    return of(`there was a "${device}" at the PCI address ${path}, and here is none, or another device`, sameDevices);
  }
  return of("a device of the source is missing, or it is on another bus or at another address", sameDevices);
}

function sectionIn(stream: Migration | undefined, label: string | undefined): Section | undefined {
  return stream?.sections.find((one) => sectionLabel(one) === label);
}

/** The features that the guest uses, as the stream has them; 0 without one. */
function guestFeatures(section: Section | undefined): bigint {
  let bits = 0n;
  for (const { path, field } of walkFields(section?.fields ?? [])) {
    const { value } = field;
    if (!path.endsWith("guest_features/bits")) continue;
    if (typeof value === "number" || typeof value === "bigint") bits |= BigInt(value);
  }
  return bits;
}

/** "-22: invalid argument", of the numbers that loads fail with. */
export function errorText(number: string): string {
  const names: Readonly<Record<string, string>> = {
    "-1": "no reason given",
    "-2": "no such file",
    "-5": "input/output error",
    "-11": "try again",
    "-12": "no memory",
    "-14": "bad address",
    "-22": "invalid argument",
    "-32": "broken pipe",
    "-95": "not supported",
    "-104": "connection reset",
  };
  const name = names[number];
  return name === undefined ? number : `${number}: ${name}`;
}

function byte(hex: string): number {
  return Number.parseInt(hex, 16);
}

function bare(hex: string): string {
  return hex.replace(/^0x/i, "").toLowerCase();
}

function lastName(field: string): string {
  return field.slice(Math.max(field.lastIndexOf("."), field.lastIndexOf(":"), field.lastIndexOf("/")) + 1);
}
