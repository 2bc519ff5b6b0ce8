// What the demo's two processes say to each other.

import { z } from "zod";

/** From the new process: it listens; it has taken the state up; it has closed everything again. */
export const childMessage = z.discriminatedUnion("event", [
  z.object({ event: z.literal("listening") }),
  z.object({
    event: z.literal("loaded"),
    /** The fds under the expected keys, in their order; -1 where there is none. */
    fds: z.array(z.number()),
    /** Memfds that do not hold what they should. */
    wrong: z.number(),
    loadMs: z.number(),
    findNs: z.number(),
  }),
  z.object({ event: z.literal("closed"), leaked: z.number() }),
]);

export type ChildMessage = z.infer<typeof childMessage>;
