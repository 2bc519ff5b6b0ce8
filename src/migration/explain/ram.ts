// Blocks of RAM by their name: what they belong to, and what sets their size.

import type { Cause } from "./cause.ts";

/** "Unknown ramblock". */
export function explainUnknownBlock(name: string): Cause {
  const [, path, region] = /^(?:(.*)\/)?([^/]+)$/.exec(name) ?? [];
  const device = path === undefined || path === "" ? undefined : path;
  const what = `the destination has no RAM block "${name}"`;
  if (region?.endsWith(".rom") === true) {
    const of = region.slice(0, -".rom".length);
    return {
      what,
      why: `it is the option ROM of the device ${of}${device === undefined ? "" : ` at ${device}`}, and there is no such device there, or it has no ROM`,
      remedy: `put ${of} at the same address (addr=, bus=), and give it a ROM as the source did (romfile=, rombar=)`,
    };
  }
  if (name.startsWith("/objects/")) {
    return {
      what,
      why: "old machine types (up to 3.1) name RAM by the path of its backend's object, and the two sides do not do it alike",
      remedy:
        "set x-use-canonical-path-for-ramblock-id= of the backend as the source had it (on: with /objects/ before the id), and use its machine type",
    };
  }
  if (device !== undefined && device !== "/rom@etc") {
    return {
      what,
      why: `it is memory of the device at ${device} ("${region}"), and there is no such device there`,
      remedy: "put the same device at the same address (addr=, bus=), also one that was hot-plugged into the source",
    };
  }
  if (name.startsWith("/rom@")) {
    return {
      what,
      why: "it is a table that the firmware gets from QEMU; the destination's machine does not have it",
      remedy: "use the source's machine type and firmware, and the same devices",
    };
  }
  return {
    what,
    why: "RAM of the machine, and of memory devices, is named by the id of its memory backend (or by the machine's own name, such as pc.ram): the two sides name it differently, or a memory device is missing",
    remedy: `give the destination a backend with this id (-object memory-backend-…,id=${name}; for the machine's RAM with memory-backend=${name}), and all DIMMs that were plugged into the source`,
  };
}

/** "Size mismatch". Sizes in bytes. */
export function explainBlockSize(name: string, saved: bigint, own: bigint): Cause {
  const what = `RAM block "${name}" has ${size(saved)} in the stream and ${size(own)} here`;
  const region = name.slice(name.lastIndexOf("/") + 1);
  if (region.endsWith(".rom")) {
    return {
      what,
      why: "it is an option ROM, whose file has another size on the two hosts",
      remedy: "use the same ROM file on both (romfile=), or set romsize= to the source's size",
    };
  }
  if (/vram|vga|qxl/.test(region)) {
    return {
      what,
      why: "it is the memory of a graphics card",
      remedy: "set vgamem_mb (for qxl ram_size and vram_size too) as the source had it",
    };
  }
  if (/bios|rom|flash|pflash/i.test(region)) {
    return {
      what,
      why: "it is firmware, whose file has another size on the two hosts",
      remedy: "use the same firmware file, or one of the same size, on both sides",
    };
  }
  return {
    what,
    why: "guest RAM must have the same size on both sides",
    remedy: `give the destination the source's -m (${size(saved)} in this block), its memory backends and DIMMs, and its machine type, which decides how much is below 4 GiB`,
  };
}

function size(bytes: bigint): string {
  if (bytes % 2n ** 20n === 0n) return `${bytes / 2n ** 20n} MiB`;
  return bytes % 1024n === 0n ? `${bytes / 1024n} KiB` : `${bytes} bytes`;
}
