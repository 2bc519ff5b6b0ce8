// Files that the new QEMU opens by path: are they there, and the same ones?

import { readFileSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { statFile } from "../../../linux/process/stat-file.ts";
import { objectParts } from "../../command-line/monitors.ts";
import { type CommandOption, getValue, isOn } from "../../command-line/parse.ts";
import { blocker, type Finding, warning } from "../../finding.ts";
import { outside } from "../../namespaces/paths.ts";
import { mayWriteIn } from "../../vm/as-user.ts";
import type { Facts } from "../facts.ts";

export function checkBinary({ process, next }: Facts): Finding[] {
  if (!process.replaced) return [];
  const message = `${process.program}, from which the VM runs, has been replaced or removed since its start`;
  const remedy = `the update goes to ${next.program}; keep the old package at hand if you may want to go back`;
  return [warning("binary-replaced", message, remedy, process.program)];
}

/** Disk images and other block devices: the path must lead to the file that QEMU has open. */
export function checkImages(facts: Facts): Finding[] {
  const { blockNodes, process, fds } = facts;
  const pid = process.identity.pid;
  // Of an fd set there is no path.
  const nodes = blockNodes.filter(
    ({ drv, file }) => localDrivers.has(drv) && !/^[\w+-]+:/.test(file) && !file.startsWith("/dev/fdset/"),
  );
  return nodes.flatMap((node) => {
    const path = resolve(process.cwd, node.file);
    const now = statFile(outside(process, path));
    const open = fds.filter(({ link }) => link === path || link === `${path} (deleted)`);
    // A path that is a link shows as its target: then any fd with the same file will do.
    const same = (open.length > 0 ? open : fds).some(({ fd }) => {
      const was = statFile(`/proc/${pid}/fd/${fd}`);
      return was !== undefined && was.dev === now?.dev && was.ino === now.ino;
    });
    if (now === undefined) {
      const remedy = `the running QEMU still has the file open: bring it back under its name (for example from /proc/${pid}/fd)`;
      return [blocker("file-missing", `disk image ${path} is not there any more`, remedy, path)];
    }
    if (!same) {
      const message = `disk image ${path} is another file than the one that QEMU has open: the guest would wake up on a wrong disk`;
      return [blocker("file-replaced", message, "put the file that QEMU has open back in its place", path)];
    }
    return [];
  });
}

const localDrivers = new Set(["file", "host_device", "host_cdrom"]);

interface NamedFile {
  readonly option: string;
  readonly path: string;
}

/** Firmware, kernel and the like: read at the start and not kept open. */
export function checkStartFiles(facts: Facts): Finding[] {
  const started = startTime(facts.process.identity.startTime);
  const renamed = [...facts.memoryFiles.keys()];
  return startFiles(facts, renamed).flatMap(({ option, path }) => {
    const now = statFile(outside(facts.process, path));
    if (now === undefined) {
      const message = `${path} (${option}) is not there any more: the new QEMU would not start`;
      return [blocker("file-missing", message, "bring the file back under its name", path)];
    }
    // Guest RAM: the guest writes to it all the time.
    if (option === "-object") return [];
    const changed = Math.max(Number(now.mtimeMs), Number(now.ctimeMs));
    if (changed <= started + startSlackMs) return [];
    const message = `${path} (${option}) has changed since the VM's start: with another size the new QEMU refuses the state, else the guest gets the new content at its next reboot`;
    return [warning("file-changed", message, "put the old file back for the update, or accept it", path)];
  });
}

/** The clock ticks of a start time, the uptime's hundredths and the file system's clock differ a little. */
const startSlackMs = 2_000;

function startFiles({ options, process }: Facts, renamed: readonly string[]): NamedFile[] {
  const isThere = (path: string) => statFile(outside(process, path)) !== undefined;
  // What is in them stands in their place by now.
  const files = process.argv.flatMap((word, index) =>
    /^--?readconfig$/.test(word) ? [{ name: "readconfig", value: process.argv[index + 1] }] : [],
  );
  const folders = options.flatMap(({ name, value }) => (name === "L" && value !== undefined ? [value] : []));
  return [...options, ...files].flatMap((option) =>
    namedFiles(option, renamed).flatMap(({ path, searched }) => {
      const shown = `-${option.name}`;
      const direct = resolve(process.cwd, path);
      if (!searched || path.includes("/") || isThere(direct)) return [{ option: shown, path: direct }];
      // Looked for in QEMU's own folders; what is found in none is in a folder that only the binary knows.
      const found = folders.map((folder) => join(resolve(process.cwd, folder), path)).find(isThere);
      return found === undefined ? [] : [{ option: shown, path: found }];
    }),
  );
}

function namedFiles(
  { name, value }: CommandOption,
  renamed: readonly string[],
): { readonly path: string; readonly searched: boolean }[] {
  if (value === undefined || value === "") return [];
  const file = (path: string | undefined, searched = false) => (path ? [{ path, searched }] : []);
  switch (name) {
    case "bios":
      return file(value, true);
    case "kernel":
    case "dtb":
    case "shim":
    case "readconfig":
      return file(value);
    case "initrd":
      // A list for multiboot: "module arguments,module".
      return value.includes(",") || value.includes(" ") ? [] : file(value);
    case "device":
      return file(getValue(objectParts(value), "romfile"), true);
    case "fw_cfg":
    case "smbios":
    case "acpitable":
      return file(getValue(objectParts(value), "file"));
    case "object":
      return /memory-backend-file/.test(value) &&
        isOn(objectParts(value), "share") &&
        !renamed.includes(getValue(objectParts(value), "id") ?? "")
        ? file(getValue(objectParts(value), "mem-path"))
        : [];
    default:
      return [];
  }
}

/** Milliseconds since 1970 at which a process started, from its clock ticks since the machine's start. */
function startTime(ticks: bigint): number {
  const ticksPerSecond = 100;
  const uptime = Number(readFileSync("/proc/uptime", "utf8").split(" ")[0]);
  return Date.now() - (uptime - Number(ticks) / ticksPerSecond) * 1000;
}

/** A socket of ours has another name in another mount namespace. */
function leadsToOne(path: string, listening: ReadonlySet<string>): boolean {
  const is = statFile(path);
  return [...listening].some((name) => {
    const own = name.startsWith("/") ? statFile(name) : undefined;
    return own !== undefined && own.ino === is?.ino && own.dev === is.dev;
  });
}

/** Sockets that the new QEMU makes, and those that it connects to. */
export function checkSockets({ derived, options, listening, process }: Facts): Finding[] {
  const folders = [...new Set(derived.moved.map((name) => dirname(name.new)))];
  const unwritable = folders.filter((folder) => !mayWriteIn(outside(process, folder), process.credentials));
  const peers = options.flatMap(({ name, value }) => {
    if (name !== "chardev" || value === undefined) return [];
    const parts = objectParts(value);
    const path = getValue(parts, "path");
    const connects =
      parts[0]?.[0] === "socket" && path !== undefined && !isOn(parts, "server") && !isOn(parts, "abstract");
    const patient = ["reconnect", "reconnect-ms"].some((key) => Number(getValue(parts, key) ?? 0) > 0);
    return connects && !patient ? [path] : [];
  });
  return [
    ...unwritable.map((folder) =>
      blocker(
        "socket-folder",
        `${folder}, where the new QEMU must make a socket or a file, is missing or not writable`,
        "recreate it with the owner and mode that it had",
        folder,
      ),
    ),
    ...peers
      .filter((path) => !listening.has(path) && !listening.has(resolve(process.cwd, path)))
      .filter((path) => process.root === "" || !leadsToOne(outside(process, resolve(process.cwd, path)), listening))
      .map((path) =>
        blocker(
          "peer-not-listening",
          `nobody listens at ${path}, where the new QEMU must connect (-chardev socket): it would not start`,
          "start that program again, or use reconnect-ms= at the VM's next start",
          path,
        ),
      ),
  ];
}
