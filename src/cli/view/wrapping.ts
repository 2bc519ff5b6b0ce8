// What is around a stream, for people and programs.

import { domainName } from "../../files/unwrap/libvirt.ts";
import type { Wrapping } from "../../files/unwrap/peel.ts";
import type { Snapshot } from "../../files/unwrap/qcow2.ts";
import type { JsonValue } from "../../migration/index.ts";
import { CprkitError } from "../../vmstate/error.ts";
import { counted, grouped, printable } from "../../vmstate/shown/text.ts";
import { print, printJson } from "../output.ts";
import { table } from "./table.ts";

/** One line for each thing around the stream, from the outside in. */
export function wrappingLines(wrapping: readonly Wrapping[]): string[] {
  return wrapping.flatMap((one) => {
    switch (one.kind) {
      case "libvirt-save": {
        const { save } = one;
        const name = domainName(save.xml);
        const state = save.complete ? "" : ", NOT finished by libvirt";
        const ran = save.wasRunning ? "was running" : "was paused";
        return [
          `in            a save of libvirt${name === undefined ? "" : ` of "${printable(name)}"`}, ${save.format}, ${ran}${state}; --xml shows the domain`,
        ];
      }
      case "qcow2":
        return [`in            the snapshot "${printable(one.snapshot.name)}" of a qcow2 image`];
      case "bytes-before": {
        const what = one.returnPath.length > 0 ? ` (the return path: ${[...new Set(one.returnPath)].join(", ")})` : "";
        return [`in            a file with ${counted(one.size, "byte")} before it${what}`];
      }
      default:
        return [`in            ${one.kind}`];
    }
  });
}

/** For --json. */
export function wrappingJson(wrapping: readonly Wrapping[]): JsonValue {
  return wrapping.map((one): JsonValue => {
    switch (one.kind) {
      case "libvirt-save": {
        const { cookie, ...save } = one.save;
        return { kind: one.kind, offset: one.offset, size: one.size, ...save, cookie: cookie ?? null };
      }
      case "qcow2":
        return { kind: one.kind, offset: one.offset, snapshot: snapshotJson(one.snapshot) };
      case "bytes-before":
        return { kind: one.kind, offset: one.offset, size: one.size, returnPath: one.returnPath };
      default:
        return { kind: one.kind, offset: one.offset };
    }
  });
}

/** The domain's XML as libvirt wrote it. Throws ERR_USAGE if there is none. */
export function showXml(wrapping: readonly Wrapping[]): string {
  for (const one of wrapping) if (one.kind === "libvirt-save") return `${one.save.xml.trimEnd()}\n`;
  throw new CprkitError("ERR_USAGE", "--xml goes with a file that libvirt saved, and this is something else");
}

/** Prints the snapshots of an image. */
export function showSnapshots(snapshots: readonly Snapshot[], json: boolean): void {
  if (json) {
    printJson({ format: "qcow2", snapshots: snapshots.map(snapshotJson) });
    return;
  }
  if (snapshots.length === 0) {
    print("a qcow2 image without snapshots\n");
    return;
  }
  const rows = snapshots.map((one) => [
    printable(one.id),
    printable(one.name),
    new Date(one.time * 1000).toISOString().slice(0, 19).replace("T", " "),
    one.stateSize === 0 ? "disk only" : grouped(one.stateSize),
  ]);
  print(table(["ID", "NAME", "MADE (UTC)", "STATE"], rows, ["ID", "STATE"]));
  const first = snapshots.find(({ stateSize }) => stateSize > 0);
  if (first !== undefined) print(`\n--snapshot "${printable(first.name)}" shows its state\n`);
}

function snapshotJson({ id, name, time, clock, stateSize }: Snapshot): JsonValue {
  return { id, name, time, clock: clock.toString(), stateSize };
}
