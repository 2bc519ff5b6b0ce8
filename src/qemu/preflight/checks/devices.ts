// Devices whose fds CPR does not carry, and what the host lets only one process hold.

import { objectParts } from "../../command-line/monitors.ts";
import { getValue, isOn } from "../../command-line/parse.ts";
import { blocker, type Finding, warning } from "../../finding.ts";
import { listeningStream } from "../../handover/streams.ts";
import { compareVersions } from "../../vm/binary.ts";
import type { Facts } from "../facts.ts";

const vfioSince = { major: 10, minor: 1, micro: 0, package: "" };

export function checkVfio({ devices, mode, abilities, next, runState }: Facts): Finding[] {
  const vfio = devices.filter(({ type }) => type.startsWith("vfio-"));
  return vfio.flatMap(({ id, type }) => {
    const subject = id ?? type;
    if (mode === "cpr-reboot") {
      if (runState === "suspended") return [];
      const remedy = "suspend the guest first (from inside, or by its agent), and wake it after the update";
      return [
        blocker("vfio-not-suspended", `${subject}: cpr-reboot with ${type} needs a suspended guest`, remedy, subject),
      ];
    }
    // QEMU 10.0 neither preserves such a device nor blocks the update.
    if (compareVersions(abilities.version, vfioSince) < 0) {
      const message = `${subject}: the running QEMU does not carry ${type}; the new one could not open the device`;
      return [blocker("vfio", message, "unplug it (device_del) for the update, or use --mode cpr-reboot", subject)];
    }
    if ("abilities" in next.said && compareVersions(next.said.abilities.version, vfioSince) < 0) {
      const message = `${subject}: the new QEMU is older than 10.1 and can't take ${type} over`;
      return [blocker("vfio", message, "choose QEMU 10.1 or newer, or unplug the device", subject)];
    }
    return [];
  });
}

/** Those that cprkit does not hand over. */
export function checkTaps({ taps, derived, sideBySide, command, untaken }: Facts): Finding[] {
  const handed = new Set(derived.handed.map(({ what }) => what));
  // An own command for cpr-exec may keep them by number: the process has them still.
  const isKept = !sideBySide && command.some((word) => /\bfds?=\d/.test(word));
  const left = taps.filter(({ name }) => !handed.has(`tap ${name}`) && !isKept);
  return left.map(({ name, multiqueue }) =>
    multiqueue && sideBySide
      ? warning(
          "tap-queues",
          `tap interface ${name} has several queues: until the old QEMU ends, packets may go to either of the two`,
          "expect some to be sent again; use --mode cpr-exec to avoid it",
          name,
        )
      : blocker(
          "tap-held",
          `tap interface ${name}: CPR does not carry it, the kernel lets nobody attach to it while it is held, and ` +
            (untaken ?? "which network device has it is not known"),
          "give each -netdev tap its ifname= (or fd=) at the VM's next start, or unplug the network device for the update",
          name,
        ),
  );
}

const held: readonly { readonly match: RegExp; readonly finding: (id: string) => Finding }[] = [
  {
    match: /^vhost-(vsock|vdpa|scsi)/,
    finding: (id) =>
      blocker(
        "device-held",
        `${id}: its address on the host is taken until the running QEMU ends`,
        "unplug it for the update, or use --mode cpr-exec",
        id,
      ),
  },
  {
    match: /^vhost-user-/,
    finding: (id) =>
      blocker(
        "vhost-user",
        `${id}: its backend must serve the new QEMU while the running one is still connected; of one that does not, the new QEMU waits for an answer`,
        "unplug the device for the update; if its backend serves several (see its documentation), --allow vhost-user",
        id,
      ),
  },
  {
    match: /^usb-host$/,
    finding: (id) =>
      blocker(
        "device-held",
        `${id}: the USB device is claimed by the running QEMU, so the new one can't open it`,
        "unplug it for the update (device_del) and plug it in again after",
        id,
      ),
  },
];

export function checkHeldDevices({ devices, sideBySide }: Facts): Finding[] {
  if (!sideBySide) return [];
  return devices.flatMap(({ id, type }) =>
    held
      .filter(({ match }) => match.test(type))
      .map(({ finding }) => finding(id === undefined ? type : `${type} ${id}`)),
  );
}

/** Networks with a peer outside that serves one QEMU. The card tells nothing of it. */
export function checkNetPeers({ runs: { net }, options, sideBySide }: Facts): Finding[] {
  if (!sideBySide) return [];
  const netdevs = options.filter(({ name }) => name === "netdev").map(({ value = "" }) => objectParts(value));
  return [...new Map(net.clients.map((client) => [client.name, client])).values()].flatMap(
    ({ name, type, info, peer }) => {
      const parts = netdevs.find((each) => getValue(each, "id") === name) ?? [];
      const unplug = "unplug its network card for the update, or use --mode cpr-exec";
      switch (type) {
        case "vhost-user":
          return [
            blocker(
              "vhost-user",
              `network ${name}: its backend must serve the new QEMU beside the running one`,
              unplug,
              name,
            ),
          ];
        case "vhost-vdpa":
          return [
            blocker("device-held", `network ${name}: the vhost-vdpa device is open in the running QEMU`, unplug, name),
          ];
        case "passt":
          return [
            blocker(
              "net-peer",
              `network ${name}: its passt serves the running QEMU, which has started it`,
              unplug,
              name,
            ),
          ];
        case "stream": {
          // Without a card the guest has nothing of it.
          if (!info.includes("unix:") || isOn(parts, "server") || peer === undefined) return [];
          const returns = ["reconnect", "reconnect-ms"].some((key) => Number(getValue(parts, key) ?? 0) > 0);
          const message = `network ${name} is connected to ${info}: one that serves a single QEMU, as passt does, hangs up on the new one`;
          return returns
            ? [
                warning(
                  "net-peer",
                  `${message}, which connects again when the old one has ended`,
                  "expect a gap of that time",
                  name,
                ),
              ]
            : [
                blocker(
                  "net-peer",
                  message,
                  `give it reconnect-ms=, or ${unplug}; if it serves several, --allow net-peer`,
                  name,
                ),
              ];
        }
        case "dgram":
        case "socket":
          // A group's packets go to all who have joined it.
          if (!info.includes("udp=") || peer === undefined) return [];
          return [
            warning(
              "net-peer",
              `network ${name}: both QEMUs have its port (${info}) while one follows the other, and the new one gets what comes`,
              "expect a gap; it waits until the guest is handed over, and is lost if the update is rolled back",
              name,
            ),
          ];
        default:
          return [];
      }
    },
  );
}

/**
 * A VFIO device needs KVM: without it QEMU 11.1.3 follows a null pointer when the guest stops for CPR, and the guest is
 * lost with it. Whether another version does can't be asked without losing a guest, so none is trusted.
 */
export function checkVfioAccelerator({ devices, accelerator, mode }: Facts): Finding[] {
  if (accelerator === "kvm" || (mode !== "cpr-transfer" && mode !== "cpr-exec")) return [];
  return devices.flatMap(({ id, type }) => {
    if (!type.startsWith("vfio-")) return [];
    const subject = id ?? type;
    const message = `${subject}: QEMU runs without KVM, and crashes when it hands ${type} over: the guest would be lost`;
    return [blocker("qemu-crash", message, "unplug it (device_del) for the update, or start the VM with KVM", subject)];
  });
}

/**
 * QEMU 11.1.3 ends with a segmentation fault, and the guest with it, when it saves an NVMe controller that has no drive
 * of its own (namespaces by nvme-ns, or none). Seen with plain migration, too. 10.0 refuses to migrate NVMe.
 */
export function checkCrashes({ devices, abilities }: Facts): Finding[] {
  if (abilities.version.major !== 11) return [];
  return devices
    .filter(({ drive }) => drive === "")
    .map(({ id = "nvme" }) =>
      blocker(
        "qemu-crash",
        `${id}: this NVMe controller has no drive= of its own; QEMU 11.1 crashes when it saves one, and the guest is lost`,
        "unplug it for the update; at the VM's next start give the controller a drive=, or use virtio-blk",
        id,
      ),
    );
}

/**
 * A QEMU that loads as soon as it starts, as with cpr-exec, follows a null pointer where a network listens for its peer
 * (`-netdev stream,server=on`, with a card), which it does only a little later: seen with 10.0.2 and 11.1.3.
 */
export function checkListeningNetworks({ runs: { net }, options, mode }: Facts): Finding[] {
  if (mode !== "cpr-exec") return [];
  return options.flatMap((option) => {
    const stream = listeningStream(option);
    const hasCard = net.clients.some(({ name, peer }) => name === stream?.id && peer !== undefined);
    if (stream === undefined || !hasCard) return [];
    const message = `network ${stream.id} listens for its peer: QEMU crashes when it executes itself with one, and the guest is lost`;
    return [blocker("qemu-crash", message, "use --mode cpr-transfer", stream.id)];
  });
}

export function checkChardevs({ chardevs, fds }: Facts): Finding[] {
  const clients = fds.filter(({ fate, what }) => fate === "lost" && / (accepted|connection) at /.test(what));
  const places = clients.map(({ what }) => what.replace(/^.* at /, ""));
  return [
    ...places.map((at) =>
      warning(
        "chardev-client",
        `a client is connected at ${at}: CPR does not carry the connection, it will be closed`,
        "make sure that the client connects again by itself",
        at,
      ),
    ),
    ...chardevs
      .filter(({ filename }) => filename.startsWith("pty:"))
      .map(({ label, filename }) =>
        warning(
          "pty",
          `character device ${label} is ${filename}: the new QEMU's pseudo-terminal has another name`,
          "let readers ask for it (query-chardev) after the update, or use a UNIX socket",
          label,
        ),
      ),
  ];
}
