/**
 * Learning rates, on the host. In: a step and the shape of the run. Out: the rate of that step: a linear warm-up, a
 * constant stretch, a cosine down to a floor, and the floor from there on (section 6 of the specification).
 */
import { AttributeError } from "@millrace/graph";

export type Schedule = {
  /** Rate of the constant stretch. */
  readonly peak: number;
  /** Rate after the cosine. */
  readonly floor: number;
  readonly warmupSteps: number;
  readonly constantSteps: number;
  readonly decaySteps: number;
};

/** A schedule over `steps` steps in about the proportions of V3's: the last third falls to a tenth. */
export function scheduleOver(steps: number, peak: number): Schedule {
  const warmupSteps = Math.min(200, Math.ceil(steps / 20));
  const decaySteps = Math.min(steps - warmupSteps, Math.ceil(steps / 3));
  return {
    peak,
    floor: peak / 10,
    warmupSteps,
    constantSteps: steps - warmupSteps - decaySteps,
    decaySteps,
  };
}

/** The rate of step `step`, counted from 1. */
export function learningRateAt(step: number, schedule: Schedule): number {
  if (!Number.isSafeInteger(step) || step < 1)
    throw new AttributeError({
      what: `learning rate of step ${step}`,
      where: "learningRateAt",
      hint: "Steps count from 1.",
    });
  const { peak, floor, warmupSteps, constantSteps, decaySteps } = schedule;
  if (step <= warmupSteps) return (peak * step) / warmupSteps;
  const decayed = step - warmupSteps - constantSteps;
  if (decayed <= 0) return peak;
  if (decayed >= decaySteps) return floor;
  return floor + ((peak - floor) * (1 + Math.cos((Math.PI * decayed) / decaySteps))) / 2;
}
