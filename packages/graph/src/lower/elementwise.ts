/**
 * Groups without a hero: elementwise and movement nodes. In: such a group. Out: parallel loops over the root's shape, one
 * store. Where every read is at the index of the store, the axes are merged into one.
 */
import type { Expr } from "../expression.ts";
import { axis, visitExpr } from "../expression.ts";
import type { Kernel, Statement } from "../kernel.ts";
import { expressionsOf, visitStatements } from "../kernel.ts";
import { shapeSize, shapesEqual } from "../shape.ts";
import type { Call, GroupBody } from "./group-body.ts";
import { axesOf, parallel } from "./group-body.ts";

export function lowerElementwise(body: GroupBody): Call {
  const { shape } = body.root.outputs[0]!;
  const { ranges, index } = axesOf(shape, "i");
  const call = body.call(parallel(ranges, body.storeRoot(index)));
  return { ...call, kernel: flattened(call.kernel) };
}

/** The same kernel over one axis, if all its buffers are accessed alike and the axes are not used otherwise. */
function flattened(kernel: Kernel): Kernel {
  const shape = kernel.buffers.find((buffer) => buffer.access === "write")!.shape;
  if (shape.length < 2 || !kernel.buffers.every((b) => shapesEqual(b.shape, shape))) return kernel;
  const size = shapeSize(shape);
  const flat = axis("i", size);
  let uniform = true;
  const isIdentity = (index: readonly Expr[]): boolean =>
    index.every(
      (part, i) =>
        (part.kind === "axis" && part.name === `i${i}`) ||
        (shape[i] === 1 && part.kind === "literal"),
    );
  const flatten = (expr: Expr): Expr => {
    switch (expr.kind) {
      case "load":
        uniform &&= isIdentity(expr.index);
        return { ...expr, index: [flat] };
      case "axis":
        uniform = false;
        return expr;
      case "apply":
        return { ...expr, args: expr.args.map(flatten) };
      case "round":
        return { ...expr, value: flatten(expr.value) };
      default:
        return expr;
    }
  };
  const body: Statement[] = [];
  visitStatements(kernel.body, (statement) => {
    if (statement.kind === "let") body.push({ ...statement, value: flatten(statement.value) });
    if (statement.kind === "store")
      body.push({ ...statement, index: [flat], value: flatten(statement.value) });
  });
  if (!uniform) return kernel;
  return {
    ...kernel,
    buffers: kernel.buffers.map((buffer) => ({ ...buffer, shape: [size] })),
    body: parallel([{ axis: "i", extent: size }], body),
  };
}

/** Whether a kernel reads `buffer` nowhere but where it then writes `target`: the two may be one memory. */
export function readsOnlyWhatItWrites(kernel: Kernel, buffer: string, target: string): boolean {
  const key = (index: readonly Expr[]): string => JSON.stringify(index);
  const written = new Set<string>();
  let alike = true;
  visitStatements(kernel.body, (statement) => {
    if (statement.kind === "store" && statement.buffer === target)
      written.add(key(statement.index));
  });
  visitStatements(kernel.body, (statement) => {
    for (const expr of expressionsOf(statement))
      visitExpr(expr, (part) => {
        if (part.kind !== "load" || part.buffer !== buffer) return;
        alike &&= written.size === 1 && written.has(key(part.index));
      });
  });
  return alike;
}
