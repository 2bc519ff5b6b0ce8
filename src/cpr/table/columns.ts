// Loaded fds before they are in the table: three columns, no object for each.

/** What was loaded, in the order of the wire: newest first. */
export interface FdColumns {
  readonly names: string[];
  readonly ids: number[];
  readonly fds: number[];
}
