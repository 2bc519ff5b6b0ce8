// What a field kind does, in a form that code can be made of (compile/). It is kept by the very functions that it
// describes: a field that was changed, or one of somebody's own, has no recipe and is called as it is.

import type { AnyDescription, AnyField, Field } from "./types.ts";

/** The kinds of one value in a few bytes, always the same number. */
export type ScalarKind =
  | "uint8"
  | "int8"
  | "uint16"
  | "int16"
  | "uint32"
  | "int32"
  | "uint64"
  | "int64"
  | "bool"
  | "timer"
  | "double"
  | "positive";

export type Recipe =
  /** `compares`: with what the target holds. */
  | { readonly kind: "scalar"; readonly of: ScalarKind; readonly compares?: boolean }
  | { readonly kind: "bytes"; readonly size: number }
  | { readonly kind: "unused"; readonly size: number }
  | { readonly kind: "cstring"; readonly lengthField: string; readonly maxLength: number }
  | { readonly kind: "fd" }
  /** `count`: how many, or the field that says it; `times` as many. */
  | { readonly kind: "array"; readonly element: AnyField; readonly count: number | string; readonly times: number }
  | { readonly kind: "struct"; readonly description: AnyDescription; readonly version: number }
  | { readonly kind: "list"; readonly description: AnyDescription; readonly version: number }
  /** Without `key`: a number of 64 bits. */
  | {
      readonly kind: "hash";
      readonly key: AnyDescription | undefined;
      readonly value: AnyDescription;
      readonly version: number;
    }
  /** Saved as `field` unless there is no value. */
  | { readonly kind: "since"; readonly field: AnyField };

const loads = new WeakMap<object, Recipe>();
const saves = new WeakMap<object, Recipe>();

/** Notes that `field` loads and saves as `recipe` says; returns it. */
export function withRecipe<T>(recipe: Recipe, field: Field<T>): Field<T> {
  return loadsAs(recipe, savesAs(recipe, field));
}

/** Notes that `field` loads as `recipe` says, if it says something; returns it. */
export function loadsAs<F extends AnyField>(recipe: Recipe | undefined, field: F): F {
  if (recipe !== undefined) loads.set(field.load, recipe);
  return field;
}

/** Notes that `field` saves as `recipe` says; returns it. */
export function savesAs<F extends AnyField>(recipe: Recipe, field: F): F {
  saves.set(field.save, recipe);
  return field;
}

/** How `field` loads; undefined: only by calling it. */
export function loadRecipe(field: AnyField): Recipe | undefined {
  return loads.get(field.load);
}

/** How `field` saves; undefined: only by calling it. */
export function saveRecipe(field: AnyField): Recipe | undefined {
  return saves.get(field.save);
}
