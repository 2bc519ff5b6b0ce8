// Virtio devices as QEMU compares them when it loads one (QEMU 10.0 hw/virtio/virtio.c, virtio_load; the devices' own).

import type { FieldNode } from "../model.ts";
import { virtioFeatures, virtioType } from "../virtio/features.ts";
import { type CheckContext, note } from "./body.ts";
import { type ValuesByPath, valuesByPath } from "./by-path.ts";
import { finding } from "./findings.ts";

/** Notes what the destination refuses. Its PCI configuration is compared as every other device's. */
export function checkVirtio(context: CheckContext, path: string, source: FieldNode, destination: FieldNode): void {
  if (source.fields === undefined || destination.fields === undefined) return;
  const ours = valuesByPath(source.fields);
  const theirs = valuesByPath(destination.fields);
  if (transportOf(ours) !== transportOf(theirs)) {
    const reason = `a device on ${transportOf(ours)}, in the destination on ${transportOf(theirs)}`;
    note(context, path, finding.virtioDiffers(reason));
    return;
  }
  checkFeatures(context, path, ours, theirs);
  // Of QEMU 10.2 and later; all other subsections are as old as virtio 1.0.
  for (const name of ["virtio/128bit_features", "virtio_pci/modern_state/features128"]) {
    const has = (values: ValuesByPath) => [...values.keys()].some((key) => key.endsWith(name));
    if (has(ours) && !has(theirs)) note(context, path, finding.subsectionNotSent(name));
  }
  for (const [at, reason] of context.destinationIsOld ? [] : queueDifferences(ours, theirs))
    note(context, `${path}/${at}`, finding.virtioDiffers(reason));
  for (const [at, reason] of ownDifferences(context.section, ours, theirs))
    note(context, `${path}/${at}`, finding.virtioDiffers(reason));
}

function transportOf(values: ValuesByPath): string {
  if (values.has("pci")) return "PCI";
  return values.has("ccw") ? "ccw" : "MMIO";
}

function numberAt(values: ValuesByPath, path: string): bigint {
  const value = values.get(path)?.value;
  return typeof value === "number" || typeof value === "bigint" ? BigInt(value) : 0n;
}

/** What the driver accepted. */
function accepted(values: ValuesByPath): bigint {
  const low = numberAt(values, "virtio/64bit_features/guest_features/bits") || numberAt(values, "guest_features/bits");
  return low | (numberAt(values, "virtio/128bit_features/guest_features/bits") << 64n);
}

const driverOk = 4n;

/**
 * The host's features are not in a stream. What the destination's driver accepted shows them: one of an operating system takes
 * all that are of use, so what it left out was not offered. Firmware takes few, and each version of it others.
 */
function checkFeatures(context: CheckContext, path: string, ours: ValuesByPath, theirs: ValuesByPath): void {
  const missing = accepted(ours) & ~accepted(theirs) & ~surelyOffered(theirs);
  if (missing === 0n) return;
  const isReady = (numberAt(theirs, "status") & driverOk) !== 0n;
  const isSure = isReady && (accepted(theirs) & ringFeatures) !== 0n;
  for (const { name, property } of virtioFeatures(context.section, missing)) {
    const found = isSure ? finding.virtioFeatureMissing : finding.virtioFeatureUnknown;
    note(context, `${path}/guest_features/${name}`, found(name, property));
  }
}

/** Indirect descriptors and event indexes: operating systems use them, firmware does not. */
const ringFeatures = (1n << 28n) | (1n << 29n);

/** What the form of the destination's stream shows to be offered. */
function surelyOffered(theirs: ValuesByPath): bigint {
  const packed = theirs.has("virtio/packed_virtqueues") ? 1n << 34n : 0n;
  const modern = theirs.has("virtio/virtqueues") ? 1n << 32n : 0n;
  return packed | modern;
}

type Difference = readonly [path: string, reason: string];

function* ownDifferences(section: string, ours: ValuesByPath, theirs: ValuesByPath): Generator<Difference> {
  switch (virtioType(section)) {
    case "net":
      yield* netDifferences(ours, theirs);
      break;
    case "console":
      yield* serialDifferences(ours, theirs);
      break;
    case "mem":
      yield* equal(ours, theirs, ["device/addr", "device/region_size", "device/block_size", "device/node"]);
      if (ours.has("device/bitmap") !== theirs.has("device/bitmap"))
        yield ["device", "x-early-migration differs, so the device sends other fields"];
      break;
  }
}

function* netDifferences(ours: ValuesByPath, theirs: ValuesByPath): Generator<Difference> {
  const pairs = "device/max_queue_pairs";
  if (ours.has(pairs) !== theirs.has(pairs))
    yield [pairs, `only the ${ours.has(pairs) ? "source" : "destination"} sends it: its back end has several queues`];
  yield* equal(ours, theirs, [pairs]);
  for (const [field, what] of [
    ["has_vnet_hdr", "vnet_hdr"],
    ["has_ufo", "UFO"],
  ] as const) {
    const path = `device/${field}`;
    if (numberAt(ours, path) !== 0n && theirs.has(path) && numberAt(theirs, path) === 0n)
      yield [path, `the source's back end has ${what}, the destination's does not`];
  }
}

/** QEMU 11.1 refuses a queue that is larger than the destination's own, older ones take any. */
function* queueDifferences(ours: ValuesByPath, theirs: ValuesByPath): Generator<Difference> {
  const count = Number(numberAt(ours, "queues"));
  for (let at = 0; at < count; at++) {
    const places = numberAt(ours, `vq[${at}]/num`);
    const most = placesIn(theirs, at);
    if (places <= most) continue;
    const own = most === 0n ? "none" : `${most}`;
    yield [`vq[${at}]/num`, `queue ${at} has ${places} places, in the destination ${own}: QEMU 11.1 refuses that`];
    return;
  }
}

/** Places of a queue as the device was made: the driver may have chosen fewer. */
function placesIn(values: ValuesByPath, at: number): bigint {
  const made = "virtio/ringsize/vq";
  if (values.has(made)) {
    const own = `${made}[${at}]/vring.num_default`;
    return numberAt(values, values.has(own) ? own : `${made}/others/vring.num_default`);
  }
  return numberAt(values, `vq[${at}]/num`);
}

function* serialDifferences(ours: ValuesByPath, theirs: ValuesByPath): Generator<Difference> {
  const map = (values: ValuesByPath) => JSON.stringify(values.get("device/ports_map")?.value ?? []);
  if (ours.has("device/ports_map") && theirs.has("device/ports_map") && map(ours) !== map(theirs))
    yield ["device/ports_map", `ports ${portsOf(ours)}, in the destination ${portsOf(theirs)}`];
}

/** Numbers of the ports, such as "0, 1, 2". */
function portsOf(values: ValuesByPath): string {
  const words = values.get("device/ports_map")?.value;
  if (!Array.isArray(words)) return "none";
  const ports = words.flatMap((word, at) =>
    Array.from({ length: 32 }, (_, bit) => bit)
      .filter((bit) => (Number(word) >>> bit) & 1)
      .map((bit) => at * 32 + bit),
  );
  return ports.length === 0 ? "none" : ports.join(", ");
}

function* equal(ours: ValuesByPath, theirs: ValuesByPath, paths: readonly string[]): Generator<Difference> {
  for (const path of paths) {
    if (!ours.has(path) || !theirs.has(path)) continue;
    const [a, b] = [numberAt(ours, path), numberAt(theirs, path)];
    if (a !== b) yield [path, `${a} in the source, ${b} in the destination: QEMU wants the same`];
  }
}
