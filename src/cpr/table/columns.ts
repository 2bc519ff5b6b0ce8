// Loaded fds before they are in the table: three columns, no object for each.

/** What was loaded, in the order of the wire: newest first. */
export interface FdColumns {
  readonly names: string[];
  // Numbers in arrays of their own kind: they grow without the collector.
  ids: Int32Array<ArrayBuffer>;
  fds: Int32Array<ArrayBuffer>;
  count: number;
}

/** Without entries. */
export function fdColumns(): FdColumns {
  return { names: [], ids: new Int32Array(64), fds: new Int32Array(64), count: 0 };
}

/** Adds an entry: an id and an fd of 32 bits. */
export function pushFd(columns: FdColumns, name: string, id: number, fd: number): void {
  const at = columns.count++;
  if (at === columns.ids.length) grow(columns);
  columns.names.push(name);
  columns.ids[at] = id;
  columns.fds[at] = fd;
}

function grow(columns: FdColumns): void {
  const { ids, fds } = columns;
  columns.ids = new Int32Array(ids.length * 4);
  columns.ids.set(ids);
  columns.fds = new Int32Array(fds.length * 4);
  columns.fds.set(fds);
}
