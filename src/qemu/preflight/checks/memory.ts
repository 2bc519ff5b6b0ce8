// Can guest memory stay where it is while QEMU changes?

import { objectParts } from "../../command-line/monitors.ts";
import { getValue, isOn } from "../../command-line/parse.ts";
import type { MemoryBackend } from "../../fds/ram.ts";
import { blocker, type Finding, warning } from "../../finding.ts";
import type { Facts } from "../facts.ts";

export function checkMemory(facts: Facts): Finding[] {
  const emptied = facts.sideBySide ? checkDiscard(facts) : [];
  if (facts.mode === "copy") return [...emptied, ...checkFiles(facts)];
  return facts.mode === "cpr-reboot"
    ? [...emptied, ...checkCopied(facts)]
    : [...emptied, ...checkAuxRam(facts), ...checkBackends(facts)];
}

function checkAuxRam({ auxRamShare }: Facts): Finding[] {
  if (auxRamShare === true) return [];
  const message =
    auxRamShare === undefined
      ? "the machine has no aux-ram-share property: this QEMU is older than 10.0"
      : "the machine was started without aux-ram-share=on: firmware and display memory can't be handed over";
  return [blocker("aux-ram-share-off", message, "at the VM's next start, add aux-ram-share=on to -machine")];
}

function checkBackends({ backends }: Facts): Finding[] {
  return backends
    .filter(({ share }) => share !== true)
    .map((backend) =>
      blocker(
        "memory-not-shared",
        `guest memory "${backend.id}" (${backend.type}, ${mebibytes(backend.size)}) is private to this process`,
        `at the VM's next start, give it by ${shared(backend)} and -machine memory-backend=${backend.id}`,
        backend.id,
      ),
    );
}

/** The option that makes the same memory shareable. */
function shared({ id, type, size }: MemoryBackend): string {
  const keep = type === "memory-backend-file" ? "memory-backend-file,mem-path=…" : "memory-backend-memfd";
  return `-object ${keep},id=${id},size=${mebibytes(size).replace(" MiB", "M")},share=on`;
}

/** RAM in a named file that both QEMUs map can't be copied into itself; it stays where it is if all RAM is so. */
function checkFiles({ backends, memoryFiles }: Facts): Finding[] {
  const isNamed = (one: MemoryBackend) => isInSharedFile(one) && !memoryFiles.has(one.id);
  const named = backends.filter(isNamed);
  if (named.length === 0 || named.length === backends.length) return [];
  return named.map(({ id, type, size }) => {
    const message = `guest memory "${id}" (${type}, ${mebibytes(size)}) is in a shared file, other memory is not: QEMU leaves both kinds where they are, or copies both`;
    return blocker("memory-file", message, "use --mode cpr-reboot, or cpr-transfer if nothing else is in its way", id);
  });
}

function isInSharedFile({ type, share }: MemoryBackend): boolean {
  return type === "memory-backend-file" && share === true;
}

/** Mode copy: all guest RAM is in named shared files, and not sent (x-ignore-shared). */
export function isRamInFiles({ backends, memoryFiles }: Pick<Facts, "backends" | "memoryFiles">): boolean {
  return backends.length > 0 && backends.every((one) => isInSharedFile(one) && !memoryFiles.has(one.id));
}

/** A file that both QEMUs have open is emptied under the new one. */
function checkDiscard({ options }: Facts): Finding[] {
  const discarded = options.flatMap(({ name, value }) => {
    const parts = name === "object" && value !== undefined ? objectParts(value) : [];
    return isOn(parts, "discard-data") && /memory-backend-file/.test(value ?? "") ? [getValue(parts, "id") ?? ""] : [];
  });
  return discarded.map((id) =>
    blocker(
      "discard-data",
      `guest memory "${id}" has discard-data=on: the old QEMU empties its file when it ends`,
      "leave it out at the VM's next start",
      id,
    ),
  );
}

/** cpr-reboot leaves memory in place only if it is in a shared file; else all of it goes through the state file. */
function checkCopied({ backends }: Facts): Finding[] {
  return backends
    .filter(({ share, type }) => share !== true || type !== "memory-backend-file")
    .map(({ id, type, size }) =>
      warning(
        "ram-copied",
        `guest memory "${id}" (${type}, ${mebibytes(size)}) is not in a shared file: cpr-reboot writes it to the state file`,
        "use memory-backend-file,share=on on a memory file system (/dev/shm), or --mode cpr-transfer",
        id,
      ),
    );
}

/** "32 MiB", "0.004 MiB". */
export function mebibytes(bytes: number): string {
  return `${Number((bytes / 2 ** 20).toPrecision(bytes < 2 ** 20 ? 3 : 12))} MiB`;
}
