/**
 * Four registers of four lanes, turned: what was read along one axis goes on along the other. In: rows. Out: columns. The rows are
 * left as they are.
 */
import type { FunctionBuilder, Local } from "./function-builder.ts";

/** Lanes of two registers, 0 to 3 of the first and 4 to 7 of the second, as a new one. */
function shuffle(
  f: FunctionBuilder,
  x: Local,
  y: Local,
  lanes: readonly [number, number, number, number],
): Local {
  f.get(x);
  f.get(y);
  f.shuffle32(...lanes);
  return f.save("v128");
}

/** Lane i of the four registers becomes register i. */
export function transpose(f: FunctionBuilder, [a, b, c, d]: readonly Local[]): Local[] {
  const lowAB = shuffle(f, a!, b!, [0, 4, 1, 5]);
  const lowCD = shuffle(f, c!, d!, [0, 4, 1, 5]);
  const highAB = shuffle(f, a!, b!, [2, 6, 3, 7]);
  const highCD = shuffle(f, c!, d!, [2, 6, 3, 7]);
  return [
    shuffle(f, lowAB, lowCD, [0, 1, 4, 5]),
    shuffle(f, lowAB, lowCD, [2, 3, 6, 7]),
    shuffle(f, highAB, highCD, [0, 1, 4, 5]),
    shuffle(f, highAB, highCD, [2, 3, 6, 7]),
  ];
}

/** Two registers, lane by lane in turn: a0 b0 a1 b1, then a2 b2 a3 b3. */
export function interleave(f: FunctionBuilder, [a, b]: readonly Local[]): Local[] {
  return [shuffle(f, a!, b!, [0, 4, 1, 5]), shuffle(f, a!, b!, [2, 6, 3, 7])];
}
