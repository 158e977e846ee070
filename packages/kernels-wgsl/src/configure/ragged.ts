/**
 * Products of the rows of each of several ranges that follow one another: experts. In: a grid and its product. Out: the axis of the
 * ranges and where their bounds are, or nothing for other products. All ranges together have no more rows than one may have, so
 * there are at most as many tiles as those rows fill, and one more for each range. Pure.
 */
import type { Contract, Range } from "@millrace/graph";
import { hasBounds, isAxis } from "./accesses.ts";
import type { Grid } from "./grid.ts";

export interface Ragged {
  /** The axis whose values have a range of rows each. */
  readonly range: Range;
  /** Buffer of bounds: value i has the rows from element i to element i + 1. */
  readonly offsets: string;
}

export function raggedOf({ steps }: Grid, { rows }: Contract): Ragged | undefined {
  const [step] = steps;
  if (steps.length !== 1 || step?.kind !== "axis" || hasBounds(step.range)) return undefined;
  const { start, end } = rows;
  if (start?.kind !== "load" || end?.kind !== "load" || start.buffer !== end.buffer)
    return undefined;
  const [first, ...others] = start.index;
  const [last, ...more] = end.index;
  const { axis } = step.range;
  if (!isAxis(first, axis) || others.length > 0 || more.length > 0) return undefined;
  const next =
    last?.kind === "apply" &&
    last.op === "add" &&
    isAxis(last.args[0], axis) &&
    last.args[1]?.kind === "literal" &&
    last.args[1].value === 1;
  return next ? { range: step.range, offsets: start.buffer } : undefined;
}
