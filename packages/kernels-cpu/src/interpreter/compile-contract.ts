/**
 * Matrix products of kernels. In: a `contract`, its context and the compiler of its body. Out: a closure that runs the body
 * once per row and column. The sum starts at 0 and rounds to f32 after every product and every addition, in the order of
 * `depth`. Each operand element is evaluated once where the ranges allow it, and for every product where they depend on
 * one another.
 */
import type { Contract, Expr, Range, Statement } from "@millrace/graph";
import { visitExpr } from "@millrace/graph";
import { compileExpr } from "./evaluate-expr.ts";
import type { Execute, KernelContext } from "./kernel-context.ts";
import { compileLoop, compileRange, declareName } from "./kernel-context.ts";

const { fround } = Math;

type CompileBody = (block: readonly Statement[], context: KernelContext) => Execute;

/** Compiles a product and, with `compileBody`, what it does with each result. */
export function compileContract(
  contract: Contract,
  context: KernelContext,
  compileBody: CompileBody,
): Execute {
  const { rows, columns, depth } = contract;
  const separate =
    !dependsOn(columns, rows.axis) &&
    !dependsOn(depth, rows.axis) &&
    !dependsOn(depth, columns.axis);
  return separate
    ? compileSeparate(contract, context, compileBody)
    : compileNested(contract, context, compileBody);
}

function dependsOn(range: Range, axis: string): boolean {
  let found = false;
  const look = (expr: Expr): void => {
    found ||= expr.kind === "axis" && expr.name === axis;
  };
  for (const bound of [range.start, range.end]) if (bound) visitExpr(bound, look);
  return found;
}

/** Ranges of a rectangle: each operand is evaluated once per element, then multiplied. */
function compileSeparate(
  contract: Contract,
  context: KernelContext,
  compileBody: CompileBody,
): Execute {
  const { frame } = context;
  const bounds = [contract.rows, contract.columns, contract.depth].map((range) =>
    compileRange(range, context),
  );
  const [rows, columns, depth] = bounds as [
    (typeof bounds)[0],
    (typeof bounds)[0],
    (typeof bounds)[0],
  ];
  const row = declareName(context, contract.rows.axis);
  const column = declareName(context, contract.columns.axis);
  const step = declareName(context, contract.depth.axis);
  // An operand sees its own axis and depth, nothing of the other operand.
  const see = (axis: string, slot: number): KernelContext => ({
    ...context,
    slots: new Map([...context.slots, [axis, slot], [contract.depth.axis, step.slot]]),
  });
  const lhs = compileExpr(contract.lhs, see(contract.rows.axis, row.slot));
  const rhs = compileExpr(contract.rhs, see(contract.columns.axis, column.slot));
  const result = declareName(
    {
      ...context,
      slots: new Map([
        ...context.slots,
        [contract.rows.axis, row.slot],
        [contract.columns.axis, column.slot],
      ]),
    },
    contract.result,
  );
  const body = compileBody(contract.body, result.context);

  return () => {
    const [r0, rEnd, c0, cEnd, d0, dEnd] = [
      rows.start(),
      rows.end(),
      columns.start(),
      columns.end(),
      depth.start(),
      depth.end(),
    ];
    if (rEnd <= r0 || cEnd <= c0) return;
    const length = Math.max(dEnd - d0, 0);
    const left = new Float32Array((rEnd - r0) * length);
    const right = new Float32Array(length);
    for (let r = r0, at = 0; r < rEnd; r++) {
      frame[row.slot] = r;
      for (let d = d0; d < dEnd; d++) {
        frame[step.slot] = d;
        left[at++] = lhs();
      }
    }
    for (let c = c0; c < cEnd; c++) {
      frame[column.slot] = c;
      for (let d = d0; d < dEnd; d++) {
        frame[step.slot] = d;
        right[d - d0] = rhs();
      }
      for (let r = r0; r < rEnd; r++) {
        frame[row.slot] = r;
        frame[result.slot] = dotInOrder(left, (r - r0) * length, right);
        body();
      }
    }
  };
}

function dotInOrder(left: Float32Array, from: number, right: Float32Array): number {
  let total = 0;
  for (let d = 0; d < right.length; d++)
    total = fround(total + fround(left[from + d]! * right[d]!));
  return total;
}

/** Ranges that depend on the row or column, such as a triangle. */
function compileNested(
  contract: Contract,
  context: KernelContext,
  compileBody: CompileBody,
): Execute {
  const { frame } = context;
  return compileLoop(contract.rows, context, (inRow) =>
    compileLoop(contract.columns, inRow, (inColumn) => {
      const { slot, context: known } = declareName(inColumn, contract.result);
      const products = compileLoop(contract.depth, inColumn, (inDepth) => {
        const lhs = compileExpr(contract.lhs, inDepth);
        const rhs = compileExpr(contract.rhs, inDepth);
        return () => {
          frame[slot] = fround(frame[slot]! + fround(lhs() * rhs()));
        };
      });
      const body = compileBody(contract.body, known);
      return () => {
        frame[slot] = 0;
        products();
        body();
      };
    }),
  );
}
