/**
 * How long a kernel takes, roughly. In: a kernel's statements and what was chosen for them. Out: nanoseconds on one thread, as a
 * polynomial of the sizes. Good to a factor of two or three: enough to tell what is worth sharing among threads.
 */
import type { Dim, Expr, ScalarOp, Statement } from "@millrace/graph";
import { addDims, multiplyDims, tripsOf, visitExpr } from "@millrace/graph";
import type { Choice } from "./configure.ts";

/** Nanoseconds per scalar operation; four lanes do almost four at once. */
const access = 0.5;
const arithmetic = 0.4;
const rounding = 2;
const laneFactor = 0.3;
const slowOps: Partial<Record<ScalarOp, number>> = {
  exp: 8,
  log: 8,
  sin: 10,
  cos: 10,
  tanh: 12,
  div: 2,
  rem: 4,
  sqrt: 2,
};
/** One multiplication and addition of a product, and copying one element of an operand. */
const multiplyAdd = 0.06;
const packing = 0.4;

function exprWork(expr: Expr): number {
  let work = 0;
  visitExpr(expr, (part) => {
    if (part.kind === "load") work += access;
    else if (part.kind === "apply") work += slowOps[part.op] ?? arithmetic;
    else if (part.kind === "round") work += rounding;
  });
  return work;
}

type Choices = ReadonlyMap<Statement, Choice>;

function statementWork(statement: Statement, choices: Choices, around: Dim, inLanes: boolean): Dim {
  const choice = choices.get(statement);
  const lanes = inLanes || (choice !== undefined && choice.lanes);
  const factor = lanes ? laneFactor : 1;
  switch (statement.kind) {
    case "array":
      return 0;
    case "let":
    case "variable":
    case "assign":
      return exprWork(statement.value) * factor;
    case "store": {
      const index = statement.index.reduce((sum, expr) => sum + exprWork(expr), 0);
      return (index + exprWork(statement.value) + access) * factor;
    }
    case "if":
      return addDims(
        exprWork(statement.condition) * factor,
        blockWork(statement.body, choices, around, lanes),
      );
    case "loop": {
      const trips = tripsOf(statement.range, around);
      const body = blockWork(statement.body, choices, trips, lanes);
      return multiplyDims(trips, addDims(body, arithmetic * factor));
    }
    case "reduce": {
      const trips = statement.ranges.map((range) => tripsOf(range, around)).reduce(multiplyDims, 1);
      const exprs = [...statement.values, ...statement.combine];
      const values = exprs.reduce((sum, expr) => sum + exprWork(expr), 0) * factor;
      const body = blockWork(statement.body, choices, trips, lanes);
      return multiplyDims(trips, addDims(body, values));
    }
    case "contract": {
      const [rows, columns, depth] = [statement.rows, statement.columns, statement.depth].map(
        (range) => tripsOf(range, around),
      ) as [Dim, Dim, Dim];
      const results = multiplyDims(rows, columns);
      const body = blockWork(statement.body, choices, 1, lanes);
      return addDims(
        multiplyDims(results, addDims(body, multiplyDims(depth, multiplyAdd))),
        multiplyDims(multiplyDims(addDims(rows, columns), depth), packing),
      );
    }
  }
}

function blockWork(
  block: readonly Statement[],
  choices: Choices,
  around: Dim,
  inLanes: boolean,
): Dim {
  return block
    .map((statement) => statementWork(statement, choices, around, inLanes))
    .reduce(addDims, 0);
}

/** Nanoseconds that one thread takes for a configured block. */
export function workOf(body: readonly Statement[], choices: Choices): Dim {
  return blockWork(body, choices, 1, false);
}
