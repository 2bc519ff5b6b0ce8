// One line of what is known of this host.

/** What is looked at. Append only; docs/host.md says of each how. */
export const hostSubjects = [
  "node",
  "ffi",
  "kernel",
  "taking-fds",
  "nofile",
  "memlock",
  "confinement",
  "namespaces",
  "cgroup",
  "kvm",
  "vfio",
  "programs",
  "state",
  "cache",
  "vms",
  "qemu",
] as const;

/** One of {@link hostSubjects}. */
export type HostSubject = (typeof hostSubjects)[number];

/** Plain data. */
export interface HostFact {
  readonly subject: HostSubject;
  /** "hinders": something that cprkit does will not work; "note": what some VMs lack, or what could not be found out. */
  readonly state: "fine" | "note" | "hinders";
  /** What is there, and what it hinders. */
  readonly text: string;
  readonly remedy?: string | undefined;
}

export const fine = (subject: HostSubject, text: string): HostFact => ({ subject, state: "fine", text });

export const note = (subject: HostSubject, text: string, remedy?: string): HostFact => ({
  ...{ subject, state: "note", text },
  remedy,
});

export const hinders = (subject: HostSubject, text: string, remedy: string): HostFact => ({
  ...{ subject, state: "hinders", text },
  remedy,
});
