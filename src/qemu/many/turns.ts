// Updates that take turns: never two guests in the switch at once, for each would prolong the other's pause.

import type { UpdateOptions } from "../update/options.ts";
import { type UpdateStep, updateSteps } from "../update/steps.ts";
import type { UpdateModeName } from "../vm/binary.ts";

/** Updates whose guests take turns in the switch. */
export interface Turns {
  /**
   * Runs an update with what it has to be told in place of `watched`, which is told the same. The update waits for its turn
   * just before the step "before-switch", so what is asked in that step is answered when the switch is next.
   */
  take<T>(
    watched: Pick<UpdateOptions, "onPlan" | "onStep" | "onWait">,
    update: (watched: Pick<UpdateOptions, "onPlan" | "onStep" | "onWait">) => Promise<T>,
  ): Promise<T>;
}

/**
 * Turns for the updates of this process: no two are in the switch at the same time. With mode copy, where the guest runs on
 * while its RAM is copied, one copies at a time, whose short pause may fall together with another VM's.
 */
export function makeTurns(): Turns {
  const gates = { pause: makeGate(), copy: makeGate() };
  return {
    take: async ({ onPlan, onStep, onWait }, update) => {
      let mode: UpdateModeName = "cpr-transfer";
      let leave = () => {};
      try {
        return await update({
          onWait,
          onPlan: (plan) => {
            mode = plan.mode;
            onPlan?.(plan);
          },
          onStep: async (step, processes) => {
            if (step === "running") leave();
            await onStep?.(step, processes);
            if (step !== lastBeforeSwitch(mode)) return;
            // An update that was taken back, and is tried again by the same hands, has its turn no more.
            leave();
            leave = await gates[mode === "copy" ? "copy" : "pause"].enter(() =>
              onWait?.("waiting for the switch of another VM"),
            );
          },
        });
      } finally {
        leave();
      }
    },
  };
}

/** From the step after it on things are let go that the guest needs, and it stops. */
function lastBeforeSwitch(mode: UpdateModeName): UpdateStep | undefined {
  const steps = updateSteps[mode];
  return steps[steps.indexOf("before-switch") - 1];
}

interface Gate {
  /** Waits until all who came before have left; `onWait` is called if somebody is in there. @returns leaves */
  enter(onWait: () => void): Promise<() => void>;
}

function makeGate(): Gate {
  let last: Promise<void> = Promise.resolve();
  let inside = 0;
  return {
    enter: async (onWait) => {
      const before = last;
      let open = () => {};
      last = new Promise((resolve) => {
        open = resolve;
      });
      if (inside++ > 0) onWait();
      await before;
      let left = false;
      return () => {
        if (left) return;
        left = true;
        inside--;
        open();
      };
    },
  };
}
