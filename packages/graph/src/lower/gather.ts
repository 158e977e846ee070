/**
 * Writes at computed positions. In: a group whose hero is `scatter_add`. Out: zeros, then a serial loop over the updates, so
 * that rows with equal indices add up in one order. (Reads at computed positions are movement: they need no rule.)
 */
import { apply, axis, integer, literal, load, local, scalarType, sizeOf } from "../expression.ts";
import type { Call, GroupBody } from "./group-body.ts";
import { axesOf, parallel } from "./group-body.ts";

/** `indices [N]`, `updates [N, ...rest]` to `[size, ...rest]`. */
export function lowerScatterAdd(body: GroupBody): Call {
  const { dtype, shape } = body.hero.outputs[0]!;
  const count = body.inputType(0).shape[0]!;
  const output = body.buffer({ node: body.hero.id, output: 0 }, "update");
  const indices = body.buffer(body.hero.inputs[0]!, "read");
  const all = axesOf(shape, "i");
  const rest = axesOf(shape.slice(1), "d");
  const row = local("row", "i32");
  const target = [row, ...rest.index];
  const { lets, exprs } = body.share([body.operand(1, [axis("n", count), ...rest.index])]);
  const inside = apply("and", apply("ge", row, integer(0)), apply("lt", row, sizeOf(shape[0]!)));
  return body.call([
    ...parallel(all.ranges, [
      { kind: "store", buffer: output, index: all.index, value: literal(0, scalarType(dtype)) },
    ]),
    {
      kind: "loop",
      range: { axis: "n", extent: count },
      order: "serial",
      body: [
        { kind: "let", name: "row", value: load(indices, [axis("n", count)], "i32") },
        {
          kind: "if",
          condition: inside,
          body: parallel(rest.ranges, [
            ...lets,
            {
              kind: "store",
              buffer: output,
              index: target,
              value: apply("add", load(output, target, dtype), exprs[0]!),
            },
          ]),
        },
      ],
    },
  ]);
}
