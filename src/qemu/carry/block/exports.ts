// NBD exports: the old QEMU lets go of them just before the stop (a writable one keeps the image), and the new one offers
// the same at the same address when the old one has ended. Clients are cut off and must connect again.

import { blocker, type Finding, warning } from "../../finding.ts";
import type { Machine } from "../../machine/schema.ts";
import type { CarryInput, CarryPlan, QmpStep } from "../subject.ts";

/** First of all subjects: what is exported can't be let go of. */
export function releaseExports({ machine }: CarryInput): Pick<CarryPlan, "carried" | "findings" | "release"> {
  const server = serverOf(machine);
  const kept = keptExports(machine);
  const refused = machine.block.exports.filter(({ id }) => !kept.some((one) => one.id === id));
  if (server === undefined || kept.length === 0) return { carried: [], findings: refused.map(refusal), release: [] };
  return {
    carried: kept.map(({ id, add }) => ({
      subject: id,
      what: `nbd export ${id} of ${add["node-name"]} at ${server.shown}`,
    })),
    findings: [...refused.map(refusal), ...kept.map(({ id }) => told(id, server.shown))],
    release: [
      ...kept.map(({ id, add }) => ({
        do: { execute: "block-export-del", arguments: { id, mode: "hard" } },
        undo: { execute: "block-export-add", arguments: add },
      })),
      // Waits until all of them are gone.
      { do: { execute: "nbd-server-stop" }, undo: server.start },
    ],
  };
}

/** Last of all subjects: an export may show a bitmap, which must be there before it. */
export function returnExports({ machine }: CarryInput): Pick<CarryPlan, "after"> {
  const server = serverOf(machine);
  const kept = keptExports(machine);
  if (server === undefined || kept.length === 0) return { after: [] };
  const exports = kept.map(({ add }) => ({ execute: "block-export-add", arguments: add }));
  return { after: [server.start, ...exports] };
}

interface Kept {
  readonly id: string;
  readonly add: Readonly<Record<string, unknown>>;
}

/** The monitor lists the newest first, the server the oldest. */
function keptExports({ block }: Machine): Kept[] {
  const ids = block.exports.filter(({ type }) => type === "nbd").toReversed();
  const offered = block.nbd?.exports ?? [];
  if (ids.length !== offered.length) return [];
  return ids.flatMap(({ id, "node-name": node }, at) => {
    const one = offered[at];
    const isSame = one !== undefined && one.size === block.nodes.find(({ name }) => name === node)?.size;
    // A node without a name has another one in the new QEMU.
    if (!isSame || node.startsWith("#")) return [];
    const { name, description, readOnly, bitmaps, allocationDepth } = one;
    const add = {
      ...{ type: "nbd", id, "node-name": node, name, writable: !readOnly },
      ...(description === "" ? {} : { description }),
      ...(bitmaps.length === 0 ? {} : { bitmaps }),
      ...(allocationDepth ? { "allocation-depth": true } : {}),
    };
    return [{ id, add }];
  });
}

function serverOf({ block }: Machine): { readonly start: QmpStep; readonly shown: string } | undefined {
  const address = block.nbd?.address;
  if (address === undefined) return undefined;
  const { type, ...data } = address;
  const shown = address.type === "unix" ? address.path : `${address.host}:${address.port}`;
  return { start: { execute: "nbd-server-start", arguments: { addr: { type, data } } }, shown };
}

function refusal({ id, type }: Machine["block"]["exports"][number]): Finding {
  const why = type === "nbd" ? "its server does not tell how it was made" : "QEMU does not tell how it was made";
  const message = `the ${type} export ${id}: its clients would be cut off, and ${why}`;
  return blocker("block-export", message, "remove it for the update (block-export-del)", id);
}

function told(id: string, server: string): Finding {
  const message = `the nbd export ${id} at ${server}: its clients are cut off for the moment of the update; QEMU does not tell max-connections and iothread: its defaults are assumed`;
  return warning("block-export", message, "let its clients connect again", id);
}
