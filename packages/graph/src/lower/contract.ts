/**
 * Matrix products. In: a group whose hero is `dot_general`, `ragged_dot` or `ragged_outer`. Out: loops over the batch (or
 * the experts) around a `contract`; conversions and gathers of the operands are read in place, elementwise followers run
 * on each result.
 */
import type { Expr } from "../expression.ts";
import { apply, axis, integer, load, local } from "../expression.ts";
import type { Range, Statement } from "../kernel.ts";
import type { Dim } from "../shape.ts";
import type { Call, GroupBody } from "./group-body.ts";
import { axesOf, merged, parallel } from "./group-body.ts";

interface DotAttributes {
  readonly lhsContract: readonly number[];
  readonly rhsContract: readonly number[];
  readonly lhsBatch: readonly number[];
  readonly rhsBatch: readonly number[];
}

export function lowerDotGeneral(body: GroupBody): Call {
  const attrs = body.hero.attrs as unknown as DotAttributes;
  const lhsShape = body.inputType(0).shape;
  const rhsShape = body.inputType(1).shape;
  const isFree = (taken: readonly number[]) => (_: Dim, at: number) => !taken.includes(at);
  const lhsTaken = [...attrs.lhsBatch, ...attrs.lhsContract];
  const rhsTaken = [...attrs.rhsBatch, ...attrs.rhsContract];
  const batch = axesOf(
    attrs.lhsBatch.map((at) => lhsShape[at]!),
    "b",
  );
  const rows = merged(lhsShape.filter(isFree(lhsTaken)), "m");
  const columns = merged(rhsShape.filter(isFree(rhsTaken)), "n");
  const depth = merged(
    attrs.lhsContract.map((at) => lhsShape[at]!),
    "k",
  );
  const place = (
    rank: number,
    batchAxes: readonly number[],
    contractAxes: readonly number[],
    free: readonly Expr[],
  ): Expr[] => {
    let next = 0;
    return Array.from({ length: rank }, (_, at) => {
      if (batchAxes.includes(at)) return batch.index[batchAxes.indexOf(at)]!;
      if (contractAxes.includes(at)) return depth.index[contractAxes.indexOf(at)]!;
      return free[next++]!;
    });
  };
  const lhs = place(lhsShape.length, attrs.lhsBatch, attrs.lhsContract, rows.index);
  const rhs = place(rhsShape.length, attrs.rhsBatch, attrs.rhsContract, columns.index);
  return body.call(
    parallel(batch.ranges, [
      contract(body, {
        rows: rows.range,
        columns: columns.range,
        depth: depth.range,
        lhs: body.operand(0, lhs),
        rhs: body.operand(1, rhs),
        index: [...batch.index, ...rows.index, ...columns.index],
      }),
    ]),
  );
}

/** `x [R, K]`, `w [E, N, K]`: the rows of each expert times its matrix. */
export function lowerRaggedDot(body: GroupBody): Call {
  const [x, w] = [body.inputType(0).shape, body.inputType(1).shape];
  const [e, r, n, k] = [axis("e", w[0]!), axis("m", x[0]!), axis("n", w[1]!), axis("k", x[1]!)];
  return body.call(
    parallel(
      [{ axis: "e", extent: w[0]! }],
      [
        contract(body, {
          rows: { axis: "m", extent: x[0]!, ...groupRange(body, e) },
          columns: { axis: "n", extent: w[1]! },
          depth: { axis: "k", extent: x[1]! },
          lhs: body.operand(0, [r, k]),
          rhs: body.operand(1, [e, n, k]),
          index: [r, n],
        }),
      ],
    ),
  );
}

/** `a [R, M]`, `b [R, N]`: for each expert the sum over its rows of their outer products. */
export function lowerRaggedOuter(body: GroupBody): Call {
  const [a, b] = [body.inputType(0).shape, body.inputType(1).shape];
  const groups = body.hero.outputs[0]!.shape[0]!;
  const [e, m, n, r] = [axis("e", groups), axis("m", a[1]!), axis("n", b[1]!), axis("k", a[0]!)];
  return body.call(
    parallel(
      [{ axis: "e", extent: groups }],
      [
        contract(body, {
          rows: { axis: "m", extent: a[1]! },
          columns: { axis: "n", extent: b[1]! },
          depth: { axis: "k", extent: a[0]!, ...groupRange(body, e) },
          lhs: body.operand(0, [r, m]),
          rhs: body.operand(1, [r, n]),
          index: [e, m, n],
        }),
      ],
    ),
  );
}

/** Rows of expert `e`: between two neighbouring offsets. */
function groupRange(body: GroupBody, e: Expr): { start: Expr; end: Expr } {
  const offsets = body.buffer(body.hero.inputs[2]!, "read");
  const at = (index: Expr): Expr => load(offsets, [index], "i32");
  return { start: at(e), end: at(apply("add", e, integer(1))) };
}

function contract(
  body: GroupBody,
  parts: {
    readonly rows: Range;
    readonly columns: Range;
    readonly depth: Range;
    readonly lhs: Expr;
    readonly rhs: Expr;
    readonly index: readonly Expr[];
  },
): Statement {
  const { index, ...operands } = parts;
  body.setHero(index, local("product", "f32"));
  return { kind: "contract", ...operands, result: "product", body: body.storeAll(index) };
}
