// One line of what is known of this host.

/** Plain data. */
export interface HostFact {
  /** Such as "kernel". Append only. */
  readonly subject: string;
  /** "hinders": something that cprkit does will not work; "note": what some VMs lack, or what could not be found out. */
  readonly state: "fine" | "note" | "hinders";
  /** What is there, and what it hinders. */
  readonly text: string;
  readonly remedy?: string | undefined;
}

export const fine = (subject: string, text: string): HostFact => ({ subject, state: "fine", text });

export const note = (subject: string, text: string, remedy?: string): HostFact => ({
  ...{ subject, state: "note", text },
  remedy,
});

export const hinders = (subject: string, text: string, remedy: string): HostFact => ({
  ...{ subject, state: "hinders", text },
  remedy,
});
