// What is around a stream, in a few words.

import { domainName } from "../../files/unwrap/libvirt.ts";
import type { Wrapping } from "../../files/unwrap/peel.ts";
import { counted } from "../../vmstate/shown/text.ts";

/** Such as `a save of libvirt of "vm1", zstd, was running`. Names are as they are in the file. */
export function wrappingText(wrapping: Wrapping): string {
  switch (wrapping.kind) {
    case "libvirt-save": {
      const { xml, format, wasRunning, complete } = wrapping.save;
      const name = domainName(xml);
      const parts = [
        `a save of libvirt${name === undefined ? "" : ` of "${name}"`}`,
        format,
        wasRunning ? "was running" : "was paused",
      ];
      return [...parts, ...(complete ? [] : ["NOT finished by libvirt"])].join(", ");
    }
    case "qcow2":
      return `the snapshot "${wrapping.snapshot.name}" of a qcow2 image`;
    case "bytes-before": {
      const what = wrapping.returnPath.length > 0 ? ` (the return path: ${wrapping.returnPath.join(", ")})` : "";
      return `${counted(wrapping.size, "byte")} before the stream${what}`;
    }
    default:
      return wrapping.kind;
  }
}
