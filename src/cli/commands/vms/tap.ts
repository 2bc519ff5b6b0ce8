// cprkit tap: sits on the CPR channel between two QEMUs, or between a QEMU and another cprkit.

import { type ChildProcess, spawn } from "node:child_process";
import { writeFileSync } from "node:fs";
import { resolve } from "node:path";
import { Command, Option } from "commander";
import type { CprAbi, CprState } from "../../../cpr/index.ts";
import { systemReason } from "../../../files/read.ts";
import { takeVmFds } from "../../../qemu/handover/own-fds.ts";
import { type PassedState, tap } from "../../../qemu/tap.ts";
import { firstGivenFd } from "../../../qemu/vm/launcher.ts";
import { CprkitError, isCprkitError } from "../../../vmstate/error.ts";
import { counted, harmless, printable } from "../../../vmstate/shown/text.ts";
import { interruptible } from "../../interrupt.ts";
import { qemuVersion } from "../../options.ts";
import { print, printJson, printWarning } from "../../output.ts";
import { table } from "../../view/table.ts";

interface TapCommandOptions {
  readonly listen: string;
  readonly connect: string;
  readonly record?: string;
  readonly to?: CprAbi;
  readonly for?: ReturnType<typeof qemuVersion>;
  readonly fdsOf?: string;
  readonly json?: true;
}

export function tapCommand(): Command {
  return new Command("tap")
    .description("Sit on the CPR channel between two QEMUs: show each fd that passes, record the bytes, translate.")
    .addOption(new Option("--listen <path>", "socket for the old QEMU to connect to").makeOptionMandatory())
    .addOption(new Option("--connect <path>", "socket on which the new QEMU waits").makeOptionMandatory())
    .addOption(new Option("--record <file>", "write the bytes of the old QEMU to this file"))
    .addOption(new Option("--to <abi>", "write the state in this ABI (default: as it came)").choices(["list", "hash"]))
    .addOption(new Option("--for <version>", 'write the state for this QEMU, such as "10.0"').argParser(qemuVersion))
    .addOption(
      new Option("--fds-of <qmp>", "add the fds of this QEMU that CPR leaves behind, for a cprkit at --connect"),
    )
    .argument("[command...]", "after --: starts the new QEMU once the state has come, with the fds that were added")
    .addOption(new Option("--json", "print events as JSON, one per line"))
    .addHelpText(
      "after",
      `
Example: start the new QEMU with its CPR channel at new.sock, then
  $ cprkit tap --listen tap.sock --connect new.sock --record cpr.bin
and give tap.sock as the CPR channel to the old QEMU's "migrate".
To go back from QEMU 11.1 to 10.0, add --for 10.0.

From one cprkit to another, with the tap interfaces, listening sockets and fd sets of the old QEMU in the same state:
  $ cprkit tap --listen between.sock --connect new.sock -- qemu-system-x86_64 ... -netdev tap,id=n0,fd=10 ...
  $ cprkit tap --listen tap.sock --connect between.sock --fds-of qmp.sock
The command has them at the numbers from ${firstGivenFd} on, in their order on the old command line; CPRKIT_FDS says which is which.`,
    )
    .action((command: string[], options: TapCommandOptions) =>
      interruptible((signal) => runTap(options, command, signal)),
    );
}

async function runTap(options: TapCommandOptions, command: readonly string[], signal: AbortSignal): Promise<void> {
  const show = options.json === true ? showJson : showText;
  if (options.to === "hash") {
    printWarning(
      "no released QEMU reads the hash ABI: it would read an empty state, and the guest would wake up in empty memory",
    );
  }
  if (resolve(options.listen) === resolve(options.connect)) {
    throw new CprkitError("ERR_USAGE", "--listen and --connect name the same socket; they must be two");
  }
  let reached = `nobody had connected to ${options.listen}`;
  let started: ChildProcess | undefined;
  const startNew = async (own: CprState) => {
    started = await startWith(command, own);
  };
  using added = options.fdsOf === undefined ? undefined : await takeVmFds({ qmp: options.fdsOf }, { signal });
  const passing = tap({
    listen: options.listen,
    connect: options.connect,
    to: options.to,
    forVersion: options.for,
    add: added?.state,
    onOwn: command.length === 0 ? undefined : startNew,
    signal,
    onListening: () => show({ event: "listening", path: options.listen }),
    onSource: () => {
      reached = "the state had not passed, and the old QEMU keeps the guest";
      show({ event: "connected", connecting: options.connect });
    },
    onState: (state) => {
      reached =
        "the state had passed, but the new QEMU had not said that it is ready; ask both QEMUs which one runs the guest";
      // From here on it may get the guest.
      started = undefined;
      if (options.record !== undefined) record(options.record, state.received);
      show({ event: "state", state });
    },
  });
  const result = await passing.catch((error: unknown) => {
    started?.kill("SIGKILL");
    throw isCprkitError(error, "ERR_ABORTED") ? new CprkitError(error.code, reached, { cause: error }) : error;
  });
  show({ event: "hangup", by: result.hungUpBy, nonblockRestored: result.nonblockRestored });
}

/** Starts the new QEMU, which outlives this process. @throws CprkitError ERR_FILE when it can't be started */
async function startWith(command: readonly string[], own: CprState): Promise<ChildProcess> {
  // Newest first.
  const entries = own.entries().reverse();
  const names = entries.map(({ name, id }, at) => `${name}:${id}=${firstGivenFd + at}`);
  const between = new Array<"ignore">(firstGivenFd - 3).fill("ignore");
  const [program = "", ...args] = command;
  const child = spawn(program, args, {
    // What it says is no event of ours.
    stdio: ["ignore", 2, 2, ...between, ...entries.map(({ fd }) => fd)],
    env: { ...process.env, CPRKIT_FDS: names.join(" ") },
    detached: true,
  });
  await new Promise<void>((resolve, reject) => {
    child.once("spawn", resolve);
    child.once("error", (cause) => {
      reject(new CprkitError("ERR_FILE", `${program} can't be started: ${systemReason(cause)}`, { cause }));
    });
  });
  child.unref();
  return child;
}

type TapEvent =
  | { readonly event: "listening"; readonly path: string }
  | { readonly event: "connected"; readonly connecting: string }
  | { readonly event: "state"; readonly state: PassedState }
  | { readonly event: "hangup"; readonly by: string; readonly nonblockRestored: number };

function showJson(event: TapEvent): void {
  if (event.event !== "state") {
    printJson(event);
    return;
  }
  const { received, sent, ...rest } = event.state;
  printJson({ event: "state", received: received.length, sent: sent.length, ...rest });
}

function showText(event: TapEvent): void {
  switch (event.event) {
    case "listening":
      print(`Waiting for the old QEMU at ${printable(event.path)}\n`);
      break;
    case "connected":
      print(`The old QEMU has connected; connecting to the new one at ${printable(event.connecting)}\n`);
      break;
    case "state": {
      const { fds, own, abi, received, sent, warnings, relayMs } = event.state;
      for (const warning of warnings) print(`warning: ${printable(warning)}\n`);
      if (fds.length + own.length > 0) {
        const rows = [...fds, ...own].map(({ name, id, fd, what }) => [
          printable(name),
          String(id),
          String(fd),
          printable(what),
        ]);
        print(table(["NAME", "ID", "FD", "WHAT"], rows, ["ID", "FD"]));
      }
      const ours = own.length === 0 ? "" : `, ${own.length} of cprkit's own`;
      const form = abi === undefined ? "" : `${abi} ABI, `;
      const changed = sent === received ? "" : `, sent on as ${counted(sent.length, "byte")}`;
      print(
        `${form}${counted(fds.length, "fd")}${ours}, ${counted(received.length, "byte")}${changed}, passed on in ${relayMs.toFixed(1)} ms\n`,
      );
      break;
    }
    case "hangup":
      if (event.nonblockRestored > 0)
        print(`Set O_NONBLOCK again on ${counted(event.nonblockRestored, "fd")} where the new QEMU had cleared it\n`);
      print(
        event.by === "destination"
          ? "The new QEMU hung up: it is ready for the main channel\n"
          : "The old QEMU hung up\n",
      );
  }
}

function record(path: string, bytes: Uint8Array): void {
  try {
    writeFileSync(path, bytes);
  } catch (cause) {
    // The update continues: a full disk must not cost a VM.
    printWarning(`cannot write ${harmless(path)}: ${systemReason(cause)}; the update continues`);
  }
}
