// Whether a machine saved by one QEMU can be loaded by another, as far as descriptions tell.

import { type CheckContext, checkFields, checkVersions, type Finding } from "./body.ts";
import type { CheckBody, CheckSection, CheckSide } from "./side.ts";

/**
 * Compares what `source` sends with what `destination` takes, in the way of QEMU's vmstate-static-checker.py, and
 * beyond it for streams: their sections by name and instance, RAM blocks, page size and capabilities.
 *
 * A finding of severity "error" means that the load fails, or reads wrong values; "warning" that it depends on
 * something that the input does not tell. Without errors the load can go well. What the destination has more than the
 * source is no fault: QEMU leaves such sections as they are.
 */
export function checkMigration(source: CheckSide, destination: CheckSide): Finding[] {
  const findings: Finding[] = [];
  if (source.machine !== undefined && destination.machine !== undefined && source.machine !== destination.machine) {
    findings.push({
      code: "machine-differs",
      severity: isDump(source) && isDump(destination) ? "warning" : "error",
      section: "",
      path: "",
      message: `the source is a ${source.machine}, the destination a ${destination.machine}: QEMU refuses another machine type`,
    });
  }
  checkWhole(findings, source, destination);
  checkBlocks(findings, source, destination);
  const find = finder(source, destination);
  for (const section of source.sections) {
    const others = find(section);
    if (others === undefined) continue;
    if (others.length === 0) {
      findings.push({
        code: "section-missing",
        severity: "error",
        section: section.name,
        path: "",
        message: `the destination has no section "${section.name}": QEMU refuses a section of a device that it does not have`,
      });
      continue;
    }
    for (const finding of bestFit(source, destination, section, others)) findings.push(finding);
  }
  return findings;
}

/** Several models may share a description: one that fits is enough. */
function bestFit(
  source: CheckSide,
  destination: CheckSide,
  section: CheckSection,
  others: readonly CheckSection[],
): readonly Finding[] {
  let first: readonly Finding[] | undefined;
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
 * The destination's sections for one of the source; undefined if the destination says nothing about it. Between a
 * stream and a dump only the description's name is common; a dump has device models only, so that a section of
 * another kind ("timer", "cpu_common") cannot be looked up there.
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
  return ({ body }) => (body === undefined ? undefined : byBody.get(body.name));
}

function checkSection(
  source: CheckSide,
  destination: CheckSide,
  section: CheckSection,
  other: CheckSection,
): Finding[] {
  const findings: Finding[] = [];
  const context: CheckContext = {
    findings,
    section: section.name,
    exhaustive: isDump(destination),
    comparableSizes: isDump(source) === isDump(destination),
    sourceIsDump: isDump(source),
  };
  checkVersions(context, "", `section "${section.name}"`, section, other);
  // Of another version, the fields are others too.
  if (section.body === undefined || findings.length > 0) return findings;
  if (other.body === undefined) {
    // A stream describes neither iterative sections nor old-style ones.
    if (isDump(destination)) {
      findings.push({
        code: "description-missing",
        severity: "error",
        section: section.name,
        path: "",
        message: `the destination's section "${section.name}" has no description`,
      });
    }
    return findings;
  }
  if (section.body.name !== other.body.name) {
    findings.push({
      code: "description-differs",
      severity: "error",
      section: section.name,
      path: "",
      message: `the source describes it as "${section.body.name}", the destination as "${other.body.name}"`,
    });
    return findings;
  }
  checkVersions(context, "", `description "${section.body.name}"`, section.body, other.body);
  if (findings.length === 0) checkBody(context, "", section.body, other.body);
  return findings;
}

function checkBody(context: CheckContext, path: string, source: CheckBody, destination: CheckBody): void {
  checkFields(context, path, source, destination, checkBody);
}

function checkWhole(findings: Finding[], source: CheckSide, destination: CheckSide): void {
  if (source.pageSize !== undefined && destination.pageSize !== undefined && source.pageSize !== destination.pageSize) {
    findings.push({
      code: "page-size-differs",
      severity: "error",
      section: "",
      path: "",
      message: `guest pages have ${source.pageSize} bytes in the source, ${destination.pageSize} in the destination`,
    });
  }
  const [ours, theirs] = [source.capabilities, destination.capabilities];
  if (ours === undefined || theirs === undefined) return;
  for (const name of ["x-ignore-shared", "mapped-ram"]) {
    if (ours.includes(name) === theirs.includes(name)) continue;
    findings.push({
      code: "capability-differs",
      severity: "warning",
      section: "",
      path: "",
      message: `capability ${name} is ${ours.includes(name) ? "on" : "off"} in the source's stream and was ${theirs.includes(name) ? "on" : "off"} in the destination's: set it in the destination as in the source before loading`,
    });
  }
}

function checkBlocks(findings: Finding[], source: CheckSide, destination: CheckSide): void {
  if (source.blocks === undefined || destination.blocks === undefined) return;
  const known = new Map(destination.blocks.map((block) => [block.name, block]));
  for (const { name, usedLength } of source.blocks) {
    const other = known.get(name);
    if (other === undefined) {
      findings.push({
        code: "ram-block-missing",
        severity: "error",
        section: "ram",
        path: name,
        message: `the destination has no RAM block "${name}"`,
      });
    } else if (other.usedLength !== usedLength) {
      // QEMU makes firmware tables resizable, and nothing in the stream says which blocks are.
      const resizable = name.startsWith("/rom@");
      findings.push({
        code: "ram-size-differs",
        severity: resizable ? "warning" : "error",
        section: "ram",
        path: name,
        message: `RAM block "${name}" has ${usedLength} bytes in the source, ${other.usedLength} in the destination${resizable ? " (such blocks are resized)" : ""}`,
      });
    }
  }
}
