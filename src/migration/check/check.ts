// Whether a machine saved by one QEMU can be loaded by another, as far as two streams or two descriptions show.

import { type CheckContext, checkFields, checkVersions, note } from "./body.ts";
import { type ValuesByPath, valuesByPath } from "./by-path.ts";
import { type CheckFinding, type Found, finding } from "./findings.ts";
import { neverSent } from "./known.ts";
import type { CheckBody, CheckSection, CheckSide } from "./side.ts";
import { checkValues, lengthTravels, presenceTravels } from "./values.ts";

/**
 * Compares what `source` sends with what `destination` takes. Two streams show two machines: sections by name and instance,
 * the bytes of every description, RAM blocks, page size, capabilities, UUID, run state, and the values that QEMU compares with
 * its own (PCI configurations, virtio, fields that must be equal). With a description on either side, descriptions are
 * compared as QEMU's vmstate-static-checker.py does, and beyond it; then no finding does not mean that the machines fit.
 *
 * A finding of severity "error" means that the load fails, or reads wrong values; "warning" that it depends on
 * something that the input does not show. Without errors the load can succeed. What only the destination has is not
 * reported: QEMU leaves such sections as they are. Does not throw. How often it is right: docs/check.md.
 */
export function checkMigration(source: CheckSide, destination: CheckSide): CheckFinding[] {
  const findings: CheckFinding[] = [
    ...[...checkWhole(source, destination)].map((found) => ({ ...found, section: "", path: "" })),
    ...checkBlocks(source, destination),
  ];
  const find = finder(source, destination);
  for (const section of source.sections) {
    const others = find(section);
    if (others === undefined) continue;
    if (others.length === 0 && neverSent.has(section.name)) continue;
    if (others.length === 0)
      findings.push({ ...finding.sectionMissing(section.name), section: section.name, path: "" });
    else for (const found of bestFit(source, destination, section, others)) findings.push(found);
  }
  return findings;
}

/** Several models may share a description: one that fits is enough. */
function bestFit(
  source: CheckSide,
  destination: CheckSide,
  section: CheckSection,
  others: readonly CheckSection[],
): readonly CheckFinding[] {
  let first: readonly CheckFinding[] | undefined;
  for (const other of others) {
    const result = checkSection(source, destination, section, other);
    if (!result.some(({ severity }) => severity === "error")) return result;
    first ??= result;
  }
  return first ?? [];
}

function isDump({ kind }: CheckSide): boolean {
  return kind === "dump";
}

/**
 * The destination's sections for one of the source; undefined if the destination does not cover it. A stream and
 * a dump have only the description's name in common; a dump has device models only, so a section of another kind
 * ("timer", "cpu_common") cannot be found there.
 */
function finder(
  source: CheckSide,
  destination: CheckSide,
): (section: CheckSection) => readonly CheckSection[] | undefined {
  if (isDump(source) === isDump(destination)) {
    const byName = new Map(destination.sections.map((section) => [section.name, section]));
    return ({ name }) => {
      const found = byName.get(name);
      return found === undefined ? [] : [found];
    };
  }
  const byBody = new Map<string, CheckSection[]>();
  for (const section of destination.sections) {
    if (section.body === undefined) continue;
    const same = byBody.get(section.body.name);
    if (same === undefined) byBody.set(section.body.name, [section]);
    else same.push(section);
  }
  return ({ name, body }) => {
    const found = body === undefined ? undefined : byBody.get(body.name);
    // A PCI device's section has its address in front: one without is something else of that name.
    const fitting = found?.filter((other) => name.includes("/") || !hasPci(other.body) || hasPci(body));
    return fitting?.length === 0 ? undefined : fitting;
  };
}

function hasPci(body: CheckBody | undefined): boolean {
  return body?.fields.some((field) => field.body?.name === "PCIDevice") ?? false;
}

function checkSection(
  source: CheckSide,
  destination: CheckSide,
  section: CheckSection,
  other: CheckSection,
): CheckFinding[] {
  const findings: CheckFinding[] = [];
  const values: readonly [ValuesByPath, ValuesByPath] | undefined = section.values &&
    other.values && [valuesByPath(section.values), valuesByPath(other.values)];
  const context: CheckContext = {
    findings,
    section: section.name,
    exhaustive: isDump(destination),
    comparableSizes: isDump(source) === isDump(destination),
    sourceIsDump: isDump(source),
    destinationIsOld: destination.numbersElements === true,
    ...(values && {
      travels: (place, ours, theirs) => lengthTravels(...values, place, ours, theirs),
      flagged: (place, isOurs) =>
        isOurs ? presenceTravels(values[0], values[1], place) : presenceTravels(values[1], values[0], place),
    }),
  };
  checkVersions(context, "", `section "${section.name}"`, section, other);
  // Another version has other fields.
  if (section.body === undefined || findings.length > 0) return findings;
  if (other.body === undefined) {
    // A stream describes neither iterative sections nor old-style ones.
    if (isDump(destination)) note(context, "", finding.sectionUndescribed(section.name));
    return findings;
  }
  if (section.body.name !== other.body.name) {
    note(context, "", finding.sectionDescribedOtherwise(section.body.name, other.body.name));
    return findings;
  }
  checkVersions(context, "", `description "${section.body.name}"`, section.body, other.body);
  if (findings.length > 0) return findings;
  checkBody(context, "", section.body, other.body);
  if (values !== undefined) checkValues(context, ...values);
  return findings;
}

function checkBody(context: CheckContext, path: string, source: CheckBody, destination: CheckBody): void {
  checkFields(context, path, source, destination, checkBody);
}

function* checkWhole(ours: CheckSide, theirs: CheckSide): Generator<Found, void, void> {
  if (ours.machine !== undefined && theirs.machine !== undefined && ours.machine !== theirs.machine) {
    const differs = isDump(ours) && isDump(theirs) ? finding.dumpedMachineDiffers : finding.machineDiffers;
    yield differs(ours.machine, theirs.machine);
  }
  if (ours.pageSize !== undefined && theirs.pageSize !== undefined && ours.pageSize !== theirs.pageSize) {
    yield finding.pageSizeDiffers(ours.pageSize, theirs.pageSize);
  }
  if (ours.uuid !== undefined && theirs.uuid !== undefined && ours.uuid !== theirs.uuid) {
    yield finding.uuidDiffers(ours.uuid, theirs.uuid);
  }
  if (ours.capabilities === undefined || theirs.capabilities === undefined) return;
  for (const name of ["x-ignore-shared", "mapped-ram"]) {
    const isOn = ours.capabilities.includes(name);
    if (isOn !== theirs.capabilities.includes(name)) yield finding.capabilityDiffers(name, isOn);
  }
}

function* checkBlocks(source: CheckSide, destination: CheckSide): Generator<CheckFinding, void, void> {
  if (source.blocks === undefined || destination.blocks === undefined) return;
  const known = new Map(destination.blocks.map((block) => [block.name, block]));
  for (const { name, usedLength } of source.blocks) {
    const place = { section: "ram", path: name };
    const other = known.get(name);
    if (other === undefined) yield { ...finding.ramBlockMissing(name), ...place };
    else if (other.usedLength !== usedLength) {
      // QEMU makes firmware tables resizable, and nothing in the stream says which blocks are.
      const differs = name.startsWith("/rom@") ? finding.resizableRamSizeDiffers : finding.ramSizeDiffers;
      yield { ...differs(name, usedLength, other.usedLength), ...place };
    }
  }
}
