/**
 * The best a contestant can do. In: several ways to ask it for the same thing. Out: the one that ran fastest in a short trial. A
 * user would find it too, so nobody is measured by an unlucky choice of ours.
 */
import type { ProductTask } from "../case.ts";
import type { Prepared } from "./contestant.ts";

const TRIALS = 3;

async function trial(prepared: Prepared): Promise<number> {
  await prepared.run();
  let best = Infinity;
  for (let i = 0; i < TRIALS; i++) {
    const start = performance.now();
    await prepared.run();
    best = Math.min(best, performance.now() - start);
  }
  return best;
}

/** Tries each way and releases all but the fastest. */
export async function fastest(
  ways: readonly (() => Prepared | Promise<Prepared>)[],
): Promise<Prepared> {
  let best: { readonly prepared: Prepared; readonly time: number } | undefined;
  for (const way of ways) {
    const prepared = await way();
    const time = await trial(prepared);
    const loser = best && best.time <= time ? prepared : best?.prepared;
    if (!best || time < best.time) best = { prepared, time };
    await loser?.release();
  }
  return best!.prepared;
}

export type Layout = ProductTask["layout"];

/** A task's weight [n, k] or [k, n] as [k, n] (`kn`) or [n, k] (`nk`). */
export function weightAs(
  layout: Layout,
  task: ProductTask,
  values: Float32Array<ArrayBuffer>,
): { readonly shape: [number, number]; readonly values: Float32Array<ArrayBuffer> } {
  const { k, n } = task;
  const shape: [number, number] = layout === "kn" ? [k, n] : [n, k];
  if (layout === task.layout) return { shape, values };
  const [rows, columns] = [shape[1], shape[0]];
  const turned = new Float32Array(values.length);
  for (let i = 0; i < rows; i++)
    for (let j = 0; j < columns; j++) turned[j * rows + i] = values[i * columns + j]!;
  return { shape, values: turned };
}
