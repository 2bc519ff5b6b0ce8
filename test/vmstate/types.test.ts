// Types: what a description says its state is. The compiler checks this file; running it shows only that it runs.
import { expect, test } from "vitest";
import {
  array,
  arrayOfPointers,
  bitmap,
  bool,
  type Description,
  existsIf,
  fd,
  ghash,
  mustExist,
  qlist,
  type StateOf,
  save,
  since,
  struct,
  timer,
  uint8,
  uint64,
  unusedBuffer,
  validate,
  varray,
  vmstate,
  vmstateOf,
  withTmp,
} from "../../src/vmstate/index.ts";

type Same<A, B> = (<T>() => T extends A ? 1 : 2) extends <T>() => T extends B ? 1 : 2 ? true : false;
function same<A, B>(_yes: Same<A, B>): void {}

const inner = vmstate({ name: "inner", version: 1, fields: { x: uint8() } });
const sub = vmstate({ name: "outer/sub", version: 1, fields: { y: uint64() } });
const outer = vmstate({
  name: "outer",
  version: 2,
  fields: {
    on: bool(),
    big: uint64(),
    late: since(2, uint8()),
    some: existsIf([], () => true, uint64()),
    must: mustExist(since(2, uint8())),
    gap: unusedBuffer(4),
    check: validate([], () => true),
    nested: struct(inner),
    list: qlist(inner),
    ring: array(uint64(), 2),
    counted: varray("late", struct(inner)),
    ptrs: arrayOfPointers(struct(inner), 2),
    when: timer(),
    bits: bitmap(8),
    tmp: withTmp(inner),
    made: withTmp(inner, { fromParent: () => ({ x: 1 }), toParent: () => {} }),
    table: ghash({ key: inner, value: sub }),
    fd: fd(),
  },
  subsections: { sub },
});
type Outer = StateOf<typeof outer>;

same<Outer["on"], boolean>(true);
same<Outer["big"], bigint>(true);
same<Outer["late"], number | undefined>(true);
same<Outer["some"], bigint | undefined>(true);
same<Outer["must"], number>(true);
same<Outer["gap"], undefined>(true);
same<Outer["nested"], { x: number }>(true);
same<Outer["list"], { x: number }[]>(true);
same<Outer["ring"], bigint[]>(true);
same<Outer["counted"], { x: number }[]>(true);
same<Outer["ptrs"], ({ x: number } | null)[]>(true);
same<Outer["when"], bigint | null>(true);
same<Outer["bits"], bigint>(true);
same<Outer["tmp"], { x: number }>(true);
same<Outer["made"], { x: number } | undefined>(true);
same<Outer["table"], Map<{ x: number }, { y: bigint }>>(true);
same<Outer["sub"], { y: bigint } | undefined>(true);
// @ts-expect-error the check itself can fail
same<Outer["fd"], bigint>(true);

const gaps = vmstate({ name: "g", version: 1, fields: { a: uint8(), gap: unusedBuffer(1) } });
({ a: 1 }) satisfies StateOf<typeof gaps>;
// @ts-expect-error "a" is missing
({}) satisfies StateOf<typeof gaps>;
// @ts-expect-error a number is no bigint
({ y: 1 }) satisfies StateOf<typeof sub>;

const live = vmstateOf<{ count: number }>()({
  name: "live",
  version: 1,
  fields: { a: uint8() },
  postLoad: (state) => {
    state.count = state.a;
    // @ts-expect-error no such field
    state.b = 1;
  },
});
live satisfies Description<{ a: number } & { count: number }>;

const misuse = () => {
  // @ts-expect-error a description takes its own state only
  save(inner, { x: "1" });
  // @ts-expect-error needed() is only for subsections that are there
  vmstate({ name: "n", version: 1, fields: {}, subsections: { sub }, needed: { other: () => true } });
  // @ts-expect-error an integer-like name would be reordered
  vmstate({ name: "n", version: 1, fields: { 7: uint8() } });
  // @ts-expect-error a number is no field
  vmstate({ name: "n", version: 1, fields: { a: 7 } });
};

test("the compiler has checked the rest", () => {
  expect(misuse).toBeTypeOf("function");
  expect(live.name).toBe("live");
});
