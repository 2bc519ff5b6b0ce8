// What is said of a failure.

/** Why something failed, in plain words. */
export interface Cause {
  /** What failed, without its place. */
  readonly what: string;
  readonly why: string;
  /** What to do. */
  readonly remedy: string;
}
