/**
 * The planned arena as device buffers. In: a program and the most bytes of one buffer. Out: which buffer holds each offset. One
 * buffer where it fits; otherwise the arena is cut where no tensor lies across the cut.
 */
import type { Program } from "@millrace/graph";
import { DeviceError, maxBytes } from "@millrace/graph";

export interface ArenaPlan {
  /** Bytes of each buffer. */
  readonly chunks: readonly number[];
  /** First offset of each. */
  readonly starts: readonly number[];
}

export function planChunks(program: Program, mostBytes: number): ArenaPlan {
  const { arenaBytes } = program;
  if (arenaBytes <= mostBytes) return { chunks: [arenaBytes], starts: [0] };
  const spans = program.buffers
    .flatMap(({ type, place }) =>
      place.kind === "arena" ? [{ from: place.offset, to: place.offset + maxBytes(type) }] : [],
    )
    .toSorted((a, b) => a.from - b.from);
  // Overlapping spans move together.
  const islands: { from: number; to: number }[] = [];
  for (const span of spans) {
    const last = islands.at(-1);
    if (last && span.from < last.to) last.to = Math.max(last.to, span.to);
    else islands.push({ ...span });
  }
  const starts: number[] = [];
  const chunks: number[] = [];
  for (const { from, to } of islands) {
    const start = starts.at(-1);
    if (start !== undefined && to - start <= mostBytes) chunks[chunks.length - 1] = to - start;
    else {
      if (to - from > mostBytes)
        throw new DeviceError({
          what: `the intermediate values that share memory take ${to - from} bytes, a buffer of this device at most ${mostBytes}`,
          where: program.name,
          hint: "Use a smaller batch or fewer tokens at once.",
        });
      starts.push(from);
      chunks.push(to - from);
    }
  }
  return { chunks, starts };
}

/** The chunk that holds an offset, and where in it. */
export function locate({ starts }: ArenaPlan, offset: number): { chunk: number; offset: number } {
  const chunk = Math.max(
    starts.findLastIndex((start) => start <= offset),
    0,
  );
  return { chunk, offset: offset - starts[chunk]! };
}
