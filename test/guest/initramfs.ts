// Packs the Linux guest's initramfs (cpio "newc", gzip), the same bytes on every run: fixed times, owners, numbers.
import { gzipSync } from "node:zlib";
import { udpEcho } from "./udp-echo.ts";

interface Entry {
  readonly name: string;
  /** File type and permissions, as st_mode. */
  readonly mode: number;
  readonly data: Uint8Array;
}

const DIRECTORY = 0o040755;
const FILE = 0o100644;
const PROGRAM = 0o100755;
const LINK = 0o120777;
const EMPTY = new Uint8Array();

/**
 * An initramfs with `init` as the first process and a statically linked busybox as /bin/busybox and /bin/sh,
 * and the UDP echo. Kernel modules
 * are in /modules, with a list of them in their order.
 */
export function packInitramfs(
  init: Uint8Array,
  busybox: Uint8Array,
  modules: ReadonlyMap<string, Uint8Array> = new Map(),
): Uint8Array {
  const directory = (name: string): Entry => ({ name, mode: DIRECTORY, data: EMPTY });
  const archive = cpio([
    directory("bin"),
    { name: "bin/busybox", mode: PROGRAM, data: busybox },
    { name: "bin/sh", mode: LINK, data: new TextEncoder().encode("busybox") },
    { name: "bin/udp-echo", mode: PROGRAM, data: udpEcho() },
    directory("dev"),
    { name: "init", mode: PROGRAM, data: init },
    directory("mem"),
    ...(modules.size === 0
      ? []
      : [
          directory("modules"),
          { name: "modules/list", mode: FILE, data: new TextEncoder().encode(`${[...modules.keys()].join("\n")}\n`) },
        ]),
    ...[...modules].map(([name, data]) => ({ name: `modules/${name}`, mode: FILE, data })),
    directory("proc"),
    directory("sys"),
  ]);
  return gzipSync(archive, { level: 6 });
}

/** The "newc" format as the kernel's documentation has it (Documentation/driver-api/early-userspace/buffer-format). */
function cpio(entries: readonly Entry[]): Uint8Array {
  const trailer: Entry = { name: "TRAILER!!!", mode: 0, data: EMPTY };
  const parts = [...entries, trailer].flatMap((entry, index) => {
    const name = new TextEncoder().encode(`${entry.name}\0`);
    const links = entry === trailer ? 0 : 1;
    // Inode, mode, uid, gid, links, time, size, four device numbers, name size, checksum.
    const fields = [index + 1, entry.mode, 0, 0, links, 0, entry.data.length, 0, 0, 0, 0, name.length, 0];
    const header = `070701${fields.map((field) => field.toString(16).toUpperCase().padStart(8, "0")).join("")}`;
    return [padded(Buffer.concat([Buffer.from(header, "latin1"), name])), padded(entry.data)];
  });
  return Buffer.concat(parts);
}

function padded(bytes: Uint8Array): Uint8Array {
  const out = new Uint8Array(Math.ceil(bytes.length / 4) * 4);
  out.set(bytes);
  return out;
}
