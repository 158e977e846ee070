/**
 * A loop statement. In: the loop, and whether it runs four iterations at once. Out: its code. Where each iteration is a long reduction
 * first, as a sum over rows for each column, sixteen run at once.
 */
import type { Statement } from "@millrace/graph";
import type { KernelEmitter } from "./kernel-emitter.ts";
import { boundsOf, endOfGroups, lanesLoop, lanesLoopOf, plainLoop } from "./loop.ts";
import { emitReduceSideBySide, isLong, REGISTERS } from "./reduce.ts";

/** Emits a loop. */
export function emitLoop(
  k: KernelEmitter,
  loop: Extract<Statement, { kind: "loop" }>,
  lanes: boolean,
): void {
  const { axis } = loop.range;
  const bounds = k.stretches.get(loop)?.() ?? boundsOf(k, loop.range);
  const body = (): void => k.block(loop.body);
  if (!lanes) {
    plainLoop(k, axis, bounds, body);
    return;
  }
  const middle = endOfGroups(k, bounds, 4);
  const [first, ...rest] = loop.body;
  let from = bounds.start;
  if (first?.kind === "reduce" && isLong(first)) {
    from = endOfGroups(k, bounds, 4 * REGISTERS);
    lanesLoopOf(k, axis, { ...bounds, end: from }, REGISTERS, (places) =>
      emitReduceSideBySide(k, first, places, () => k.block(rest)),
    );
  }
  if (from !== middle) lanesLoop(k, axis, { ...bounds, start: from, end: middle }, body);
  if (middle === bounds.end) return;
  plainLoop(k, axis, { start: middle, end: bounds.end }, body);
}
