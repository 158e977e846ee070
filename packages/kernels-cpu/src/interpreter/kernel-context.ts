/**
 * What a kernel's statements are compiled over, and the one loop they share. In: a range and a body. Out: a closure that
 * runs the body for each value of the axis, its bounds checked against the extent. Knows no statements.
 */
import type { Kernel, Range } from "@millrace/graph";
import { InternalError } from "@millrace/graph";
import type { ExprContext } from "./evaluate-expr.ts";
import { compileExpr, sizeValue } from "./evaluate-expr.ts";
import type { Evaluate } from "./scalar-ops.ts";

/** Runs a statement or a block once. */
export type Execute = () => void;

/** Which way parallel loops run. The result must not depend on it. */
export type ParallelOrder = "ascending" | "descending";

/** What statements are compiled over; a declaration makes a context with one more name. */
export interface KernelContext extends ExprContext {
  readonly kernel: Kernel;
  readonly parallelOrder: ParallelOrder;
  readonly takeSlot: () => number;
}

/** Adds a name; the slot is its alone. */
export function declareName<C extends KernelContext>(
  context: C,
  name: string,
): { readonly slot: number; readonly context: C } {
  const slot = context.takeSlot();
  return { slot, context: { ...context, slots: new Map([...context.slots, [name, slot]]) } };
}

/** Bounds of a range, evaluated and checked each time it is entered. */
export interface Bounds {
  readonly start: Evaluate;
  readonly end: Evaluate;
}

export function compileRange(range: Range, context: KernelContext): Bounds {
  const extent = sizeValue(range.extent, context);
  const start = range.start ? compileExpr(range.start, context) : () => 0;
  const end = range.end ? compileExpr(range.end, context) : () => extent;
  return {
    start,
    end: () => {
      const last = end();
      const first = start();
      if (first < last && (first < 0 || last > extent))
        throw new InternalError({
          what: `axis "${range.axis}" runs from ${first} to ${last}, its extent is ${extent}`,
          where: context.where,
        });
      return last;
    },
  };
}

/** A counted loop over `range` around what `inner` compiles. */
export function compileLoop<C extends KernelContext>(
  range: Range,
  context: C,
  inner: (context: C) => Execute,
  backwards = false,
): Execute {
  const bounds = compileRange(range, context);
  const { slot, context: bodyContext } = declareName(context, range.axis);
  const body = inner(bodyContext);
  const { frame } = context;
  if (backwards)
    return () => {
      const start = bounds.start();
      for (let i = bounds.end() - 1; i >= start; i--) {
        frame[slot] = i;
        body();
      }
    };
  return () => {
    const end = bounds.end();
    for (let i = bounds.start(); i < end; i++) {
      frame[slot] = i;
      body();
    }
  };
}
