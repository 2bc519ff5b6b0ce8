// The errors that people see as one line.

/** "usage": the command line or a file is wrong; "refused": the database, the system or the state of things says no. */
export type FleetErrorKind = "usage" | "refused";

/** An error that is nobody's bug. */
export class FleetError extends Error {
  readonly kind: FleetErrorKind;

  constructor(kind: FleetErrorKind, message: string, options?: ErrorOptions) {
    super(message, options);
    this.kind = kind;
  }
}

/** The message of whatever was thrown. */
export function messageOf(error: unknown): string {
  // Of several addresses that were tried, pg says nothing but "AggregateError".
  if (error instanceof AggregateError && error.message === "") return error.errors.map(messageOf).join("; ");
  return error instanceof Error ? error.message : String(error);
}
