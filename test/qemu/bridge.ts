// A network for a guest: a tap in a bridge, and behind it a peer in a network namespace of its own.
import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { openSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { offloadOf } from "../../src/linux/tap-offload.ts";
import { endAll, startUpdatable, type Updatable, type UpdatableOptions } from "./update-support.ts";

/** What the peer has seen. Numbers of lost packets, times in ms. */
export interface PeerReport {
  readonly sent: number;
  readonly lost: readonly number[];
  /** What the guest has got. */
  readonly arrived: number;
  readonly doubled: number;
  readonly gapMs: number;
  readonly tcp: { readonly lines: number; readonly wrong: number; readonly gapMs: number };
}

interface Bridge {
  readonly tap: string;
  /** The guest's address. */
  readonly guest: string;
  /** Where a macvtap is opened, and the address that its guest must have. */
  readonly macvtap: { readonly device: string; readonly mac: string } | undefined;
  /** Starts to send; the returned function ends it. */
  startPeer(packetsPerSecond: number): Promise<() => Promise<PeerReport>>;
  /**
   * Index of the interface and whether it is up, as `ip` shows them, how often it has gone up or down, and what the kernel
   * leaves to the guest.
   */
  tapState(): string;
  /** How many packets the interface's queue had no room for. */
  overflowed(): number;
  remove(): void;
}

let made = 0;

interface BridgeOptions {
  /** Default 1. */
  readonly queues?: number;
  /** A macvtap on the pair to the peer, without a bridge. */
  readonly isMacvtap?: boolean;
}

/** @throws {Error} what is missing (root, bridges, network namespaces) */
function makeBridge({ queues = 1, isMacvtap = false }: BridgeOptions): Bridge {
  const name = (kind: string) => `cprk${kind}${process.pid % 10000}x${made}`;
  made++;
  const [tap, bridge, outer, inner, space] = ["t", "b", "o", "i", "n"].map(name) as [
    string,
    string,
    string,
    string,
    string,
  ];
  const ip = (...args: string[]) => execFileSync("ip", args, { stdio: ["ignore", "pipe", "pipe"], encoding: "utf8" });
  const quietly = (...args: string[]) => {
    try {
      ip(...args);
    } catch {
      // Not there.
    }
  };
  const remove = () => {
    quietly("link", "del", tap);
    quietly("link", "del", outer);
    quietly("link", "del", bridge);
    quietly("netns", "del", space);
  };
  try {
    ip("netns", "add", space);
    ip("link", "add", outer, "type", "veth", "peer", "name", inner, "netns", space);
    if (isMacvtap) {
      ip("link", "add", "link", outer, "name", tap, "type", "macvtap", "mode", "bridge");
    } else {
      ip("link", "add", bridge, "type", "bridge");
      ip("tuntap", "add", "dev", tap, "mode", "tap", ...(queues > 1 ? ["multi_queue"] : []));
      for (const port of [tap, outer]) ip("link", "set", port, "master", bridge);
      ip("link", "set", bridge, "up");
    }
    for (const port of [outer, tap]) ip("link", "set", port, "up");
    ip("-n", space, "addr", "add", "10.77.0.1/24", "dev", inner);
    ip("-n", space, "link", "set", inner, "up");
  } catch (error) {
    remove();
    throw error;
  }
  const guest = "10.77.0.2";
  const about = (file: string) => readFileSync(`/sys/class/net/${tap}/${file}`, "utf8").trim();
  return {
    tap,
    guest,
    macvtap: isMacvtap ? { device: `/dev/tap${about("ifindex")}`, mac: about("address") } : undefined,
    tapState: () => {
      const [, index = "", flags = ""] = /^(\d+): .*?<(.*?)>/.exec(ip("link", "show", tap)) ?? [];
      return [index, flags, about("carrier_changes"), offloadOf(tap)].join(" ");
    },
    overflowed: () => Number(about("statistics/tx_dropped")),
    remove,
    startPeer: async (rate) => {
      const script = fileURLToPath(new URL("children/net-peer.pl", import.meta.url));
      const child = spawn("ip", ["netns", "exec", space, "perl", script, guest, String(rate)], {
        stdio: ["pipe", "pipe", "inherit"],
      });
      const output = outputOf(child);
      await output.line();
      return async () => {
        child.stdin.end();
        return JSON.parse(await output.rest()) as PeerReport;
      };
    },
  };
}

function outputOf(child: ChildProcess) {
  let text = "";
  let wake = () => {};
  child.stdout?.setEncoding("utf8").on("data", (more: string) => {
    text += more;
    wake();
  });
  const closed = new Promise<void>((resolve) => child.once("close", () => resolve()));
  return {
    line: async () => {
      while (!text.includes("\n")) {
        const more = new Promise<void>((resolve) => {
          wake = resolve;
        });
        await Promise.race([more, closed.then(() => Promise.reject(new Error("the peer has ended")))]);
      }
    },
    rest: async () => {
      await closed;
      return text.slice(text.indexOf("\n") + 1);
    },
  };
}

const bridges: Bridge[] = [];

/** Ends the VMs of a test, then their networks. */
export async function endOnTaps(): Promise<void> {
  await endAll();
  for (const bridge of bridges.splice(0)) bridge.remove();
}

/** The bridge is removed by {@link endOnTaps}. */
export function bridgeOrSkip(context: { skip(why: string): void }, options: BridgeOptions = {}): Bridge {
  try {
    const bridge = makeBridge(options);
    bridges.push(bridge);
    return bridge;
  } catch (error) {
    context.skip(`no bridge can be made here: ${String(error)}`);
    throw error;
  }
}

/** Words for its netdev and card. */
interface OnTap {
  readonly tap?: string;
  readonly scripts?: string;
  readonly card?: string;
  readonly ram?: UpdatableOptions["ram"];
  readonly more?: (dir: string) => readonly string[];
  /** Words for the guest's kernel. */
  readonly words?: string;
}

/** A Linux guest that answers on the network. */
export async function startOnTap(qemu: string, bridge: Bridge, how: OnTap): Promise<Updatable> {
  const { tap = "", scripts = "script=no,downscript=no", card = "", ram = "memfd", more, words = "" } = how;
  const { macvtap } = bridge;
  const vm = await startUpdatable({
    qemu,
    machine: "pc-q35-10.0",
    accel: "tcg",
    linux: `net=${bridge.guest} ${words}`,
    ram,
    // As a parent passes it: QEMU itself opens no macvtap.
    given: () => (macvtap === undefined ? [] : [openSync(macvtap.device, "r+")]),
    extraArgs: (dir) => [
      ...["-netdev", `tap,id=n0,${macvtap === undefined ? `ifname=${bridge.tap},${scripts}` : "fd=3"}${tap}`],
      ...["-device", `virtio-net-pci,netdev=n0,id=nic0${macvtap === undefined ? "" : `,mac=${macvtap.mac}`}${card}`],
      ...(more?.(dir) ?? []),
    ],
  });
  await vm.serial.waitForText("NET READY", 60_000);
  return vm;
}

/** The most packets that were lost one after the other. */
export function longestRun(lost: readonly number[]): number {
  let [longest, run] = [0, 0];
  for (const [at, number] of lost.entries()) {
    run = at > 0 && lost[at - 1] === number - 1 ? run + 1 : 1;
    longest = Math.max(longest, run);
  }
  return longest;
}

/** Prints what a network was like. */
export function tell(what: string, downtimes: readonly number[], report: PeerReport, overflowed?: number): void {
  const { sent, lost, arrived, doubled, gapMs, tcp } = report;
  const times = downtimes.map((ms) => ms.toFixed(1)).join(" ");
  console.log(
    `${what}: downtimes ${times} ms; ${sent} packets sent, ${sent - arrived} lost on the way there` +
      `${overflowed === undefined ? "" : ` (${overflowed} of them as the queue was full)`}, ` +
      `${arrived + lost.length - sent} back, at most ${longestRun(lost)} in a row, ${doubled} doubled, gap ${gapMs} ms; ` +
      `TCP ${tcp.lines} lines, gap ${tcp.gapMs} ms`,
  );
}
