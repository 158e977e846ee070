/**
 * Opens a kernel's parallel loops to a grid of invocations. In: a block. Out: axes of the grid with what is computed between them, and
 * the block that each point of the grid runs. Loops around a loop of fixed order are taken out of it where every element is
 * touched by one of their iterations only (the columns of a scatter-add).
 */
import type { Contract, Expr, Range, Statement } from "@millrace/graph";
import { applyExpr, leftName, literalExpr, localExpr, rightName } from "@millrace/graph";
import type { Memories } from "./accesses.ts";
import { hasBounds, isAxis } from "./accesses.ts";

/** From the outside in: an axis of the grid, a value, or a condition. */
export type GridStep =
  | { readonly kind: "axis"; readonly range: Range }
  | { readonly kind: "let"; readonly name: string; readonly value: Expr }
  | { readonly kind: "if"; readonly condition: Expr };

export interface Grid {
  readonly steps: readonly GridStep[];
  readonly body: readonly Statement[];
}

/** A product as loops around a reduction. */
export function withoutContract(contract: Contract): Statement {
  const { rows, columns, depth, lhs, rhs, result, body } = contract;
  const sum: Statement = {
    kind: "reduce",
    ranges: [depth],
    results: [{ name: result, type: "f32" }],
    identity: [literalExpr(0)],
    body: [],
    values: [applyExpr("mul", lhs, rhs)],
    combine: [applyExpr("add", localExpr(leftName(0), "f32"), localExpr(rightName(0), "f32"))],
  };
  const loop = (range: Range, inner: readonly Statement[]): Statement => ({
    kind: "loop",
    range,
    order: "parallel",
    body: inner,
  });
  return loop(rows, [loop(columns, [sum, ...body])]);
}

/** Opens as many loops as can be. Products for which `isProduct` says no are taken apart. */
export function openGrid(
  whole: readonly Statement[],
  memories: Memories,
  isProduct: (contract: Contract, steps: readonly GridStep[]) => boolean,
): Grid {
  const stored = memories.stored(whole);
  const isFixed = (expr: Expr): boolean =>
    memories.loads(expr).every(({ memory }) => !stored.has(memory));
  const steps: GridStep[] = [];
  let block = whole;
  for (;;) {
    const last = block.at(-1);
    const before = block.slice(0, -1);
    if (!last || !before.every((s) => s.kind === "let" && isFixed(s.value))) break;
    const lets = before as readonly (Statement & { kind: "let" })[];
    if (last.kind === "contract" && !isProduct(last, steps)) {
      block = [...lets, withoutContract(last)];
      continue;
    }
    if (last.kind === "contract") {
      steps.push(...lets);
      block = [last];
      break;
    }
    if (last.kind === "loop" && last.order === "parallel") {
      const { start, end } = last.range;
      if ([start, end].some((bound) => bound && !isFixed(bound))) break;
      steps.push(...lets, { kind: "axis", range: last.range });
      block = last.body;
      continue;
    }
    if (last.kind === "if" && leadsToLoop(last.body) && isFixed(last.condition)) {
      steps.push(...lets, { kind: "if", condition: last.condition });
      block = last.body;
      continue;
    }
    if (last.kind === "loop" && last.order === "serial") {
      const inner = loopsInside(last, memories);
      if (inner.length === 0) break;
      for (const range of inner) steps.push({ kind: "axis", range });
      const names = new Set(inner.map(({ axis }) => axis));
      block = [...lets, without(last, names)];
    }
    break;
  }
  return { steps, body: block };
}

/** Whether a block ends in a parallel loop or a product, perhaps under conditions. */
function leadsToLoop(block: readonly Statement[]): boolean {
  const last = block.at(-1);
  if (!block.slice(0, -1).every(({ kind }) => kind === "let")) return false;
  if (last?.kind === "if") return leadsToLoop(last.body);
  return last?.kind === "contract" || (last?.kind === "loop" && last.order === "parallel");
}

/** Parallel loops inside a serial one whose iterations each keep to elements of their own. */
function loopsInside(serial: Statement & { kind: "loop" }, memories: Memories): readonly Range[] {
  const found: Range[] = [];
  let block = serial.body;
  for (;;) {
    const last = block.at(-1);
    if (!last || !block.slice(0, -1).every(({ kind }) => kind === "let")) break;
    if (last.kind === "if") block = last.body;
    else if (last.kind === "loop" && last.order === "parallel" && !hasBounds(last.range)) {
      found.push(last.range);
      block = last.body;
    } else break;
  }
  const accesses = memories.accesses([serial]);
  const stored = memories.stored([serial]);
  return found.filter(({ axis }) => {
    for (const memory of stored) {
      const own = accesses.filter((access) => access.memory === memory);
      const { length } = own[0]!.index;
      const places = Array.from({ length }, (_, i) => i);
      const kept = places.some((place) => own.every(({ index }) => isAxis(index[place], axis)));
      if (!kept) return false;
    }
    return true;
  });
}

/** The statement without the loops over these axes, which are outside it now. */
function without(statement: Statement, axes: ReadonlySet<string>): Statement {
  const inside = (block: readonly Statement[]): readonly Statement[] =>
    block.flatMap((part) =>
      part.kind === "loop" && axes.has(part.range.axis) ? inside(part.body) : [without(part, axes)],
    );
  return statement.kind === "loop" || statement.kind === "if"
    ? { ...statement, body: inside(statement.body) }
    : statement;
}
