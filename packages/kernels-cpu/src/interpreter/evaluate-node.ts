/**
 * One node of a known class, element by element. In: the op's body, the values of its inputs and the types of its outputs. Out:
 * the elements of its output. Bodies are compiled as they stand: no rewriting, no shared work. Elementwise bodies round
 * to f32 after every operation; reductions are computed in doubles and rounded once. Knows no primitives.
 */
import type {
  ElementwiseBody,
  Expr,
  MovementBody,
  Node,
  OpContext,
  ReductionBody,
  TensorType,
} from "@millrace/graph";
import { axisExpr, loadExpr, localExpr, scalarType } from "@millrace/graph";
import { storageRounding, wideElements } from "./elements.ts";
import type { ExprContext, FloatRules } from "./evaluate-expr.ts";
import { compileExpr, f32Rules, f64Rules, wideRules } from "./evaluate-expr.ts";
import { offsetsAlong, otherAxes } from "./offsets.ts";
import type { ConcreteType, InterpreterValue } from "./value.ts";
import { zeros } from "./value.ts";

/** A node about to be evaluated. */
export interface NodeContext {
  readonly node: Node;
  /** As declared, which is what bodies are written against. */
  readonly inputTypes: readonly TensorType[];
  readonly inputs: readonly InterpreterValue[];
  readonly outputs: readonly ConcreteType[];
  readonly sizes: ReadonlyMap<string, number>;
  /** No rounding of floats at all. */
  readonly exact: boolean;
  readonly where: string;
}

/** A context in which `names` have the first slots, in order. */
function exprContext(
  { sizes, where }: NodeContext,
  names: readonly string[],
  rules: FloatRules,
  buffers: ExprContext["buffers"] = new Map(),
): ExprContext {
  return {
    frame: new Float64Array(names.length),
    slots: new Map(names.map((name, slot) => [name, slot])),
    buffers,
    sizes,
    rules,
    where,
  };
}

function opContext({ node, inputTypes }: NodeContext): OpContext<Node["attrs"]> {
  return { attrs: node.attrs, inputs: inputTypes };
}

/** Each output element from the input elements at the same index. */
export function evaluateElementwise(
  body: ElementwiseBody<Node["attrs"]>,
  context: NodeContext,
): InterpreterValue {
  const { inputs, exact } = context;
  const names = inputs.map((_, i) => `x${i}`);
  const args = inputs.map(({ dtype }, i) => localExpr(names[i]!, scalarType(dtype)));
  const scalar = exprContext(context, names, exact ? f64Rules : f32Rules);
  const element = compileExpr(body.scalar(args, opContext(context)), scalar);
  const result = zeros(context.outputs[0]!);
  const store = storageRounding(result.dtype, exact);
  for (let at = 0; at < result.data.length; at++) {
    for (let i = 0; i < inputs.length; i++) scalar.frame[i] = inputs[i]!.data[at]!;
    result.data[at] = store(element());
  }
  return result;
}

/** Each output element from wherever the index map says. */
export function evaluateMovement(
  body: MovementBody<Node["attrs"]>,
  context: NodeContext,
): InterpreterValue {
  const { inputs, exact } = context;
  const result = zeros(context.outputs[0]!);
  const { shape } = result;
  const names = shape.map((_, axis) => `i${axis}`);
  const buffers = new Map(
    inputs.map((input, i) => [`input ${i}`, wideElements(input.shape, input.data)]),
  );
  const scalar = exprContext(context, names, exact ? f64Rules : f32Rules, buffers);
  const output = context.node.outputs[0]!;
  const index = names.map((name, axis) => axisExpr(name, output.shape[axis]!));
  const read = (i: number, at: readonly Expr[]): Expr =>
    loadExpr(`input ${i}`, at, inputs[i]!.dtype);
  const expr = body.at(index, read, { ...opContext(context), output });
  const element = compileExpr(expr, scalar);
  const store = storageRounding(result.dtype, exact);
  const { frame } = scalar;
  for (let at = 0; at < result.data.length; at++) {
    result.data[at] = store(element());
    for (let axis = shape.length - 1; axis >= 0; axis--) {
      frame[axis] = frame[axis]! + 1;
      if (frame[axis]! < shape[axis]!) break;
      frame[axis] = 0;
    }
  }
  return result;
}

/** A left fold of each output element's input elements, in row-major order. */
export function evaluateReduction(
  body: ReductionBody<Node["attrs"]>,
  context: NodeContext,
): InterpreterValue {
  const input = context.inputs[0]!;
  const op = opContext(context);
  const axes = body.axes(op);
  const identity = body.identity(op);
  const locals = (prefix: string): Expr[] =>
    identity.map(({ type }, i) => localExpr(`${prefix}${i}`, type));
  const [total, element] = [locals("total"), locals("element")];
  const names = [...total, ...element].map((expr) => (expr as { name: string }).name);
  const scalar = exprContext(
    context,
    [...names, "value", "position"],
    context.exact ? f64Rules : wideRules,
  );
  const compileAll = (exprs: readonly Expr[]): (() => number)[] =>
    exprs.map((expr) => compileExpr(expr, scalar));
  const value = localExpr("value", scalarType(input.dtype));
  const start = compileAll(identity);
  const lift = compileAll(body.lift(value, localExpr("position", "i32"), op));
  const combine = compileAll(body.combine(total, element));
  const finish = compileExpr(body.finish(total, op), scalar);

  const result = zeros(context.outputs[0]!);
  const store = storageRounding(result.dtype, context.exact);
  const outer = offsetsAlong(input.shape, otherAxes(input.shape.length, axes));
  const inner = offsetsAlong(input.shape, axes);
  const { frame } = scalar;
  const count = identity.length;
  const next = new Float64Array(count);
  for (let o = 0; o < outer.length; o++) {
    for (let i = 0; i < count; i++) frame[i] = start[i]!();
    for (let position = 0; position < inner.length; position++) {
      frame[2 * count] = input.data[outer[o]! + inner[position]!]!;
      frame[2 * count + 1] = position;
      for (let i = 0; i < count; i++) frame[count + i] = lift[i]!();
      for (let i = 0; i < count; i++) next[i] = combine[i]!();
      frame.set(next);
    }
    result.data[o] = store(finish());
  }
  return result;
}
