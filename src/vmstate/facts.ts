// What is known of a field and of a description without its values: enough for a reader's or writer's observer, and
// for tools. It imports nothing, so that the wire's own files need not know the field kinds.

/** The object whose fields are loaded or saved, as a field kind sees it: to read a count or a size beside it. */
export type Siblings = Readonly<Record<string, unknown>>;

/** What a field kind says about itself. */
export interface FieldFacts {
  /** The type's name in QEMU's JSON description ("uint32", "qlist"). */
  readonly type: string;
  /** Bytes on the wire when they are always the same, else undefined. */
  readonly size?: number | undefined;
  /** Fewest bytes on the wire when `size` is unknown: a count is checked against it before anything is allocated. */
  readonly minimum?: number | undefined;
  /**
   * QEMU's field.version_id: the field exists from this version of its description on; list, tree and hash kinds load
   * their elements at it as well. Default 0.
   */
  readonly version?: number | undefined;
  /** When given, the only truth about whether the field exists: `version` is not asked then (QEMU's field_exists). */
  readonly exists?: ((siblings: Siblings, version: number) => boolean) | undefined;
  /** A stream without the field is an error instead of leaving the field as it was (VMS_MUST_EXIST). */
  readonly mustExist?: boolean | undefined;
  /** The state may lack a value: `save` is called with undefined then. */
  readonly optional?: boolean | undefined;
  /** Names of fields that this one needs to have been loaded: they must come before it. */
  readonly needs?: readonly string[] | undefined;
  /** The descriptions inside this field, for tools that walk a description. */
  readonly descriptions?: readonly DescriptionFacts[] | undefined;
  /**
   * Set when the field is a run of elements, which the JSON description lists as such: plain ones, pointers of which
   * some may be null, or pointers that each have a marker before them.
   */
  readonly sequence?: "array" | "pointers" | "marked pointers" | undefined;
  /** Elements of an array whose length is fixed. */
  readonly length?: number | undefined;
  /** Whether one entry of the JSON description may stand for all elements. Default: decided as QEMU decides it. */
  readonly compressible?: boolean | undefined;
}

/** What a description says about itself. */
export interface DescriptionFacts {
  /** Identifies subsections (a subsection's name begins with its parent's) and appears in JSON and errors. */
  readonly name: string;
  /** Written, and the newest accepted (version_id). */
  readonly version: number;
  /** The oldest accepted (minimum_version_id). */
  readonly minimumVersion: number;
  /** In the order of the wire. */
  readonly fields: readonly { readonly name: string; readonly field: FieldFacts }[];
  /** In the order of the wire. */
  readonly subsections: readonly { readonly key: string; readonly description: DescriptionFacts }[];
}
