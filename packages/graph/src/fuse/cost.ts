/**
 * How much work one element is. In: an op application. Out: a weight; an addition is 1. Only ratios matter: they decide
 * whether a value is computed again by each reader or stored once.
 */
import type { Expr } from "../expression.ts";
import { axis, literal, load, scalarType, visitExpr } from "../expression.ts";
import type { Graph, Node } from "../graph.ts";
import { typeOf } from "../graph.ts";

const heavy: ReadonlySet<string> = new Set(["exp", "log", "sin", "cos", "tanh"]);

/** Weight of one output element of an elementwise or movement node, its inputs not counted. */
export function elementCost(graph: Graph, node: Node): number {
  const { body } = node.op;
  const inputs = node.inputs.map((ref) => typeOf(graph, ref));
  const context = { attrs: node.attrs, inputs };
  const output = node.outputs[0]!;
  if (body.class === "elementwise")
    return weigh(
      body.scalar(
        inputs.map(({ dtype }) => literal(1, scalarType(dtype))),
        context,
      ),
    );
  if (body.class !== "movement") return 0;
  const index = output.shape.map((dim, i) => axis(`a${i}`, dim));
  const read = (i: number, at: readonly Expr[]): Expr => load(`x${i}`, at, inputs[i]!.dtype);
  return weigh(body.at(index, read, { ...context, output }));
}

/** Arithmetic on indices is nearly free once addresses are simplified; a choice is a branch. */
function weigh(expr: Expr): number {
  let cost = 0;
  visitExpr(expr, (part) => {
    if (part.kind === "round") cost += 1;
    if (part.kind !== "apply") return;
    if (heavy.has(part.op)) cost += 10;
    else if (part.op === "select") cost += 2;
    else if (part.type === "f32") cost += part.op === "div" || part.op === "sqrt" ? 4 : 1;
    else if (part.type === "u32") cost += 1;
  });
  return cost;
}
