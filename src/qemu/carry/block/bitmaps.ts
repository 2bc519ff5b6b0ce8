// Bitmaps of changed blocks, the base of the next incremental backup. QEMU does not send them with CPR ("Cannot use
// postcopy with CPR" is its answer to the capability dirty-bitmaps), but a qcow2 image can hold them: the old QEMU stores
// those that are persistent when it lets go of the image, and the new one reads them.

import { blocker, type Finding } from "../../finding.ts";
import type { Machine } from "../../machine/schema.ts";
import type { CarryInput, CarryPlan } from "../subject.ts";

/**
 * A copy that is persistent goes with the image, and records meanwhile what the other one would: no write is missed. In the
 * new QEMU the bitmap is made from it again.
 */
export function carryBitmaps({ machine }: CarryInput): Pick<CarryPlan, "carried" | "findings" | "release" | "after"> {
  const { nodes } = machine.block;
  const found = nodes.flatMap((node) =>
    node.bitmaps.flatMap((bitmap) => {
      const { name, persistent } = bitmap;
      return name === undefined || name === "" || persistent
        ? []
        : [{ ...bitmap, name, node, at: placeOf(machine, node) }];
    }),
  );
  const kept = found.filter(({ node, at }) => canHold(node) && at !== undefined);
  return {
    carried: kept.map(({ node, name }) => ({
      subject: `${node.name}/${name}`,
      what: `bitmap ${name} of ${node.name}`,
    })),
    findings: found.filter((one) => !kept.includes(one)).map(({ node, name }) => refused(node, name)),
    release: kept.map(({ at: node, name, granularity, recording }) => ({
      do: transaction([
        ["block-dirty-bitmap-add", { node, name: copyOf(name), granularity, persistent: true, disabled: !recording }],
        ["block-dirty-bitmap-merge", { node, target: copyOf(name), bitmaps: [name] }],
      ]),
      undo: { execute: "block-dirty-bitmap-remove", arguments: { node, name: copyOf(name) } },
    })),
    after: kept.map(({ at: node, name, granularity, recording }) =>
      transaction([
        ["block-dirty-bitmap-add", { node, name, granularity, disabled: !recording }],
        ["block-dirty-bitmap-merge", { node, target: name, bitmaps: [copyOf(name)] }],
        ["block-dirty-bitmap-remove", { node, name: copyOf(name) }],
      ]),
    ),
  };
}

type Node = Machine["block"]["nodes"][number];

/** The name that both QEMUs have for a node: its own, or that of its drive. */
function placeOf({ block }: Machine, { name }: Node): string | undefined {
  if (!name.startsWith("#")) return name;
  return block.devices.find(({ node, device }) => node === name && device !== "")?.device;
}

/** Of qcow2 since version 3 ("1.1"). */
function canHold({ driver, readOnly, other }: Node): boolean {
  return (
    driver === "qcow2" && !readOnly && JSON.stringify(other["format-specific"])?.includes('"compat":"1.1"') === true
  );
}

function copyOf(name: string): string {
  return `cprkit-${name}`;
}

function transaction(actions: readonly (readonly [type: string, data: object])[]) {
  return { execute: "transaction", arguments: { actions: actions.map(([type, data]) => ({ type, data })) } };
}

function refused({ name: node, file, driver, readOnly }: Node, name: string): Finding {
  const where = node.startsWith("#") ? file : node;
  const why = readOnly ? "its image can't be written to (a snapshot lies on it)" : `a ${driver} image can't hold it`;
  const message = `bitmap ${name} of ${where} is not persistent: it would be gone, and with it the base of the next backup; ${why}`;
  return blocker("dirty-bitmap", message, "back up and remove it (block-dirty-bitmap-remove)", `${where}/${name}`);
}
