/**
 * Random bits. In: a group whose hero is `random_bits`. Out: loops in which each element hashes its own position, so the
 * result does not depend on the order of the loops.
 */
import type { Expr } from "../expression.ts";
import { apply, axis, integer, literal, load, local } from "../expression.ts";
import type { Statement } from "../kernel.ts";
import { shapeSize } from "../shape.ts";
import { threefryExpr } from "../declare/ops/random.ts";
import type { Call, GroupBody } from "./group-body.ts";
import { merged, parallel } from "./group-body.ts";

export function lowerRandomBits(body: GroupBody): Call {
  const { shape } = body.hero.outputs[0]!;
  const key = body.buffer(body.hero.inputs[0]!, "read");
  const lets: Statement[] = [];
  const bind = (value: Expr): Expr => {
    const name = `x${lets.length}`;
    lets.push({ kind: "let", name, value });
    return local(name, value.type);
  };
  const word = (i: number): Expr => bind(load(key, [integer(i)], "u32"));
  const { range, index } = merged(shape, "i");
  const counter = apply("to_u32", axis("i", shapeSize(shape)));
  const [x0, x1] = threefryExpr(word(0), word(1), literal(0, "u32"), counter, bind);
  const bits = bind(apply("xor", x0, x1));
  body.setHero(index, bits);
  return body.call(parallel([range], [...lets, ...body.storeAll(index)]));
}
