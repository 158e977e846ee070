/**
 * Writes into a part of a tensor. In: a group whose hero is `update_slice`. Out: a kernel that stores the new rows only; the
 * rest of its buffer is the operand, which `plan` puts there, by sharing memory where it can.
 */
import { apply, integer, load, local, sizeOf } from "../expression.ts";
import type { Call, GroupBody } from "./group-body.ts";
import { axesOf, parallel } from "./group-body.ts";

export function lowerUpdateSlice(body: GroupBody): Call {
  const { axis } = body.hero.attrs as { axis: number };
  const output = body.buffer({ node: body.hero.id, output: 0 }, "update");
  const rows = body.hero.outputs[0]!.shape[axis]!;
  const { ranges, index } = axesOf(body.inputType(1).shape, "i");
  const start = load(body.buffer(body.hero.inputs[2]!, "read"), [], "i32");
  const row = local("row", "i32");
  const { lets, exprs } = body.share([body.operand(1, index)]);
  const inside = apply("and", apply("ge", row, integer(0)), apply("lt", row, sizeOf(rows)));
  const statements = parallel(ranges.slice(axis + 1), [
    ...lets,
    { kind: "store", buffer: output, index: index.with(axis, row), value: exprs[0]! },
  ]);
  return body.call(
    parallel(ranges.slice(0, axis + 1), [
      { kind: "let", name: "row", value: apply("add", start, index[axis]!) },
      { kind: "if", condition: inside, body: statements },
    ]),
    { initial: body.hero.inputs[0]! },
  );
}
