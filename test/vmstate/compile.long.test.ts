// A million damaged inputs and states, by the engine and by compiled code.
import { expect, test } from "vitest";
import { compareBoth, subjects } from "./both.ts";

test("the same result, or the same error at the same place", { timeout: 1_200_000 }, () => {
  const errors = compareBoth(subjects(), 1_000_000, 20_261_130);
  expect(errors).toBeGreaterThan(250_000);
  expect(errors).toBeLessThan(900_000);
});
