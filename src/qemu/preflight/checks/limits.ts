// Numbers of fds, and memory for the second process.

import { blocker, type Finding, warning } from "../../finding.ts";
import { notEnterable, ownPid } from "../../namespaces/kinds.ts";
import { notGivable } from "../../vm/credentials.ts";
import type { Facts } from "../facts.ts";
import { isRamInFiles, mebibytes } from "./memory.ts";

/** The new QEMU gets the rights of the old one, no more and no fewer. */
export function checkRights({ process: { credentials }, own }: Facts): Finding[] {
  const problems = notGivable(own.credentials, credentials);
  if (problems.length === 0) return [];
  const { uid } = own.credentials;
  if (uid !== credentials.uid) {
    const message = `QEMU runs as uid ${credentials.uid}, cprkit as uid ${uid}: the new QEMU must run as the old one's user`;
    return [blocker("user", message, "run cprkit as root: the new QEMU gets QEMU's own user, groups and cgroup")];
  }
  const message = `the new QEMU can't be given the rights of the old one: ${problems.join("; ")}`;
  const remedy =
    credentials.filters > own.credentials.filters + 1
      ? "a seccomp filter can't be copied: run cprkit as root in a unit with the same SystemCallFilter= (systemd-run --pipe --wait -p …)"
      : "run cprkit as root, or where QEMU was started";
  return [blocker("rights", message, remedy)];
}

/** The new QEMU lives in the namespaces of the old one, and meets it in a folder that both see. */
export function checkNamespaces({ process, own, stateFolder, mode, sideBySide }: Facts): Finding[] {
  const { identity, namespaces, credentials } = process;
  const enter = `run cprkit as root, or in there: nsenter --target ${identity.pid} --all cprkit update …`;
  return [
    ...notEnterable(identity.pid, namespaces, own.credentials, credentials.label).map((why) =>
      blocker("namespace", `the new QEMU can't get the namespaces of the running one: ${why}`, enter),
    ),
    ...(sideBySide && namespaces.includes("pid") && ownPid(identity.pid) === 1
      ? [
          blocker(
            "namespace",
            "QEMU is the first process of its pid namespace: when it ends, the kernel ends every process in there, the new QEMU too",
            "use --mode cpr-exec (the process stays), or start QEMU in there behind another one, such as tini",
          ),
        ]
      : []),
    ...(stateFolder.isShared
      ? []
      : [
          blocker(
            "namespace",
            `${stateFolder.path}: the running QEMU, in a mount namespace of its own, does not see this folder, in which ${mode} has the two QEMUs meet`,
            "name a folder with --state-dir that both see, under whatever path",
            stateFolder.path,
          ),
        ]),
  ];
}

/** The channels of an update, and what a QEMU opens for a moment while it starts. */
const spareFds = 16;

export function checkFdLimits({
  fds,
  interrupts,
  process,
  own,
  mode,
  sideBySide,
  inFlightUnlimited,
}: Facts): Finding[] {
  const findings: Finding[] = [];
  const limit = process.limits.get("Max open files")?.soft ?? Number.POSITIVE_INFINITY;
  const carried = fds.filter(({ fate }) => fate === "carried").length + interrupts;
  const raise = (who: string) => `raise it: prlimit --pid PID --nofile=N for ${who}, LimitNOFILE= in its systemd unit`;
  if (fds.length + spareFds > limit) {
    findings.push(
      blocker(
        "nofile-new",
        `the new QEMU inherits RLIMIT_NOFILE ${limit} and needs about ${fds.length + spareFds} fds`,
        raise("the running QEMU"),
      ),
    );
  }
  if (!sideBySide) return findings;
  if (own.fds + carried + spareFds > own.nofile) {
    const message = `cprkit passes ${carried} fds on and has ${own.fds} open, but its RLIMIT_NOFILE is ${own.nofile}`;
    findings.push(blocker("nofile-own", message, "raise it where cprkit is started: ulimit -n N"));
  }
  // From QEMU to cprkit and from cprkit to QEMU, counted for the user (unix(7), ETOOMANYREFS).
  if (!inFlightUnlimited && 2 * carried > limit) {
    const message = `${mode} has up to ${2 * carried} fds in flight, but RLIMIT_NOFILE of QEMU's user is ${limit}`;
    findings.push(warning("nofile-in-flight", message, raise("the running QEMU")));
  }
  return findings;
}

/** Bytes. A copy needs the guest's RAM once more: as much as the guest has touched, or all that is to be there from the start. */
export function memoryForSecond(facts: Facts): number {
  const { host, mode, runs } = facts;
  if (mode !== "copy" || isRamInFiles(facts)) return host.needed;
  const prealloc = runs.memory.backends.filter((one) => one.prealloc).reduce((sum, { size }) => sum + size, 0);
  // Anonymous memory is in `needed` already.
  return Math.max(host.needed + host.copied, prealloc + host.needed);
}

export function checkHostMemory(facts: Facts): Finding[] {
  const { host, sideBySide } = facts;
  if (!sideBySide) return [];
  const { available, cgroup, hugePages } = host;
  const needed = memoryForSecond(facts);
  const findings: Finding[] = [];
  if (available < needed) {
    const message = `the second QEMU needs about ${mebibytes(needed)} of its own, the host has ${mebibytes(available)} left`;
    findings.push(blocker("memory-low", message, "free memory on the host, or use --mode cpr-exec"));
  }
  if (facts.mode === "copy" && !isRamInFiles(facts) && hugePages.free < hugePages.used) {
    const message = `the copy needs ${mebibytes(hugePages.used)} of huge pages, the host has ${mebibytes(hugePages.free)} free`;
    findings.push(blocker("memory-low", message, "reserve more for the update (vm.nr_hugepages)"));
  }
  if (cgroup !== undefined && cgroup.left < needed) {
    const message = `the second QEMU needs about ${mebibytes(needed)} of its own; cgroup ${cgroup.path} (limit ${mebibytes(cgroup.limit)}) leaves ${mebibytes(cgroup.left)}`;
    findings.push(
      blocker(
        "cgroup-memory",
        message,
        "raise its memory limit for the update (MemoryMax=), or use --mode cpr-exec",
        cgroup.path,
      ),
    );
  }
  return findings;
}
