/**
 * An elementwise op of one's own: softplus, log(1 + exp(x)). In: a float tensor. Out: one of the same type. The scalar body is
 * all a compiler needs: it fuses with its neighbours and runs on every backend.
 */
import type { Expr, OpDefinition, Tensor } from "@millrace/graph";
import {
  applyExpr,
  applyOne,
  defineOp,
  expectDType,
  expectInputs,
  literalExpr,
  mul,
  sigmoid,
} from "@millrace/graph";

export const softplusOp: OpDefinition<Record<string, never>> = defineOp({
  name: "example.softplus",
  infer: (inputs) => {
    expectInputs(inputs, 1);
    expectDType(inputs[0]!, ["f32", "bf16"], "the operand");
    return [inputs[0]!];
  },
  vjp: ({ inputs: [x], cotangents: [ct] }) => [ct && mul(ct, sigmoid(x!))],
  body: { class: "elementwise", scalar: ([x]) => softplusExpr(x!) },
});

/** max(x, 0) + log(1 + exp(-|x|)), which does not overflow. */
function softplusExpr(x: Expr): Expr {
  const small = applyExpr("exp", applyExpr("neg", applyExpr("abs", x)));
  const tail = applyExpr("log", applyExpr("add", literalExpr(1), small));
  return applyExpr("add", applyExpr("max", x, literalExpr(0)), tail);
}

export function softplus(x: Tensor): Tensor {
  return applyOne(softplusOp, [x], {});
}
