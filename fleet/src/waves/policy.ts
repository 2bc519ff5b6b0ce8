// How a rollout goes about it: waves, limits, times.

import { z } from "zod";

const count = z.number().int().min(1);
/** A number of VMs, or a share of all that take part. */
const share = z.union([count, z.string().regex(/^(100|[1-9]?\d)(\.\d+)?%$/, "a percentage such as 10%")]);
const time = z.string().regex(/^([01]\d|2[0-3]):[0-5]\d$/, "a time such as 22:30");

export const policySchema = z.strictObject({
  /** How large each wave is: so many VMs, or up to such a share of all. What is left is one more wave. */
  waves: z.array(share).default([1, "25%"]),
  /** VMs under way at the same time. */
  perHost: count.default(1),
  perRack: count.optional(),
  /** Time to watch a wave's guests before the next one begins. */
  soakSeconds: z.number().min(0).default(0),
  /** Waves (2 is the second) before which somebody has to say `resume`. */
  gates: z.array(count).default([]),
  /** When new VMs may be begun; over midnight if `to` is before `from`. Days are those on which it begins, Monday is 1. */
  hours: z
    .strictObject({
      from: time,
      to: time,
      days: z.array(z.number().int().min(1).max(7)).default([1, 2, 3, 4, 5, 6, 7]),
      zone: z
        .string()
        .refine((zone) => isZone(zone), "a time zone such as Europe/Berlin")
        .default("UTC"),
    })
    .refine(({ from, to }) => from !== to, "hours that end when they begin: leave them out for all day")
    .optional(),
  /** So many may fail, or be paused for too long; one more halts the rollout. A lost guest halts it at once. */
  budget: z
    .union([z.number().int().min(0), z.string().regex(/^(100|[1-9]?\d)(\.\d+)?%$/, "a percentage such as 2%")])
    .default(0),
  /** A guest that was paused for longer, or for nobody knows how long, counts as failed: judged afterwards. */
  maxPauseMs: z.number().positive().optional(),
  /** What a host that does not answer means: its VMs are left out, or the rollout halts. */
  onDeadHost: z.enum(["go-on", "halt"]).default("halt"),
});

export type Policy = z.infer<typeof policySchema>;

function isZone(zone: string): boolean {
  try {
    new Intl.DateTimeFormat("en", { timeZone: zone });
    return true;
  } catch {
    return false;
  }
}

/** Whether new VMs may be begun now. */
export function isWorkingTime({ hours }: Policy, now: Date): boolean {
  if (hours === undefined) return true;
  const { from, to, days, zone } = hours;
  const parts = new Intl.DateTimeFormat("en", {
    timeZone: zone,
    weekday: "short",
    hour: "2-digit",
    minute: "2-digit",
    hourCycle: "h23",
  }).formatToParts(now);
  const part = (type: string) => parts.find((each) => each.type === type)?.value ?? "";
  const at = `${part("hour")}:${part("minute")}`;
  const day = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"].indexOf(part("weekday")) + 1;
  if (from <= to) return days.includes(day) && from <= at && at < to;
  const dayBefore = day === 1 ? 7 : day - 1;
  return (days.includes(day) && from <= at) || (days.includes(dayBefore) && at < to);
}

/** What so many VMs out of `total` are. */
export function budgetOf({ budget }: Policy, total: number): number {
  return typeof budget === "number" ? budget : Math.floor((total * Number.parseFloat(budget)) / 100);
}
