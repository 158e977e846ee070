/**
 * A loop statement. In: the loop, and whether it runs four iterations at once. Out: its code. Two times four run side by side where
 * that makes pairs of operations; where each iteration is a long reduction first, as a sum over rows for each column, four times four.
 */
import type { Statement } from "@millrace/graph";
import { maxDim } from "@millrace/graph";
import type { KernelEmitter } from "./kernel-emitter.ts";
import { boundsOf, endOfGroups, lanesLoop, lanesLoopOf, plainLoop } from "./loop.ts";
import { isLong, REGISTERS } from "./reduce.ts";
import { emitSideBySide, areInPairs, PAIR } from "./side-by-side.ts";

/** Emits a loop. */
export function emitLoop(
  k: KernelEmitter,
  loop: Extract<Statement, { kind: "loop" }>,
  lanes: boolean,
): void {
  const { axis, extent } = loop.range;
  const bounds = k.stretches.get(loop)?.() ?? boundsOf(k, loop.range);
  const body = (): void => k.block(loop.body);
  if (!lanes) {
    plainLoop(k, axis, bounds, body);
    return;
  }
  const middle = endOfGroups(k, bounds, 4);
  const [first] = loop.body;
  const count = first?.kind === "reduce" && isLong(first) ? REGISTERS : PAIR;
  let from = bounds.start;
  if (maxDim(extent) >= 4 * count && (count > PAIR || areInPairs(k, axis, loop.body))) {
    from = endOfGroups(k, bounds, 4 * count);
    lanesLoopOf(k, axis, { ...bounds, end: from }, count, (places) =>
      emitSideBySide(k, loop.body, places),
    );
  }
  if (from !== middle) lanesLoop(k, axis, { ...bounds, start: from, end: middle }, body);
  if (middle === bounds.end) return;
  plainLoop(k, axis, { start: middle, end: bounds.end }, body);
}
