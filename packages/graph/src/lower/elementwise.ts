/**
 * Groups without a hero: elementwise and movement nodes. In: such a group. Out: parallel loops over the root's shape
 * around its stores. Where every read is at the index of the store, the axes are merged into one.
 */
import type { Expr } from "../expression.ts";
import { axis, visitExpr } from "../expression.ts";
import type { Kernel, Statement } from "../kernel.ts";
import { blockOf, expressionsOf, rangesOf, visitStatements } from "../kernel.ts";
import { shapeSize, shapesEqual } from "../shape.ts";
import type { Call, GroupBody } from "./group-body.ts";
import { axesOf, parallel } from "./group-body.ts";

export function lowerElementwise(body: GroupBody): Call {
  const { shape } = body.root.outputs[0]!;
  const { ranges, index } = axesOf(shape, "i");
  const call = body.call(parallel(ranges, body.storeAll(index)));
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

/**
 * Whether a kernel reads `buffer` nowhere but where it then writes `target`, and never afterwards: the two may be one memory.
 */
export function readsOnlyWhatItWrites(kernel: Kernel, buffer: string, target: string): boolean {
  const key = (index: readonly Expr[]): string => JSON.stringify(index);
  const written = new Set<string>();
  const loaded = new Set<string>();
  let alike = true;
  const visit = (block: readonly Statement[], axes: readonly string[]): void => {
    for (const statement of block) {
      for (const expr of expressionsOf(statement))
        visitExpr(expr, (part) => {
          if (part.kind !== "load" || part.buffer !== buffer) return;
          loaded.add(key(part.index));
          alike &&= written.size === 0;
        });
      if (statement.kind === "store" && statement.buffer === target) {
        written.add(key(statement.index));
        // Another iteration that came back to this element would read what this one wrote.
        const named = statement.index.flatMap((at) => (at.kind === "axis" ? [at.name] : []));
        alike &&= axes.every((open) => named.includes(open));
      }
      visit(blockOf(statement), [...axes, ...rangesOf(statement).map(({ axis: name }) => name)]);
    }
  };
  visit(kernel.body, []);
  return alike && (loaded.size === 0 || (written.size === 1 && loaded.isSubsetOf(written)));
}
