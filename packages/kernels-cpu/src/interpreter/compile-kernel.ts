/**
 * Compiles a kernel's statements to closures that walk its loops one iteration after the other. In: a kernel, its buffers'
 * elements and the sizes of this run. Out: a function that runs it once. Every f32 operation rounds. Loop bounds, indices
 * and the direction of accesses are checked, so that a wrong kernel is an error and not a wrong number.
 */
import type { Expr, Kernel, Range, Reduce, Statement } from "@millrace/graph";
import {
  InternalError,
  elementCount,
  leftName,
  rangesOf,
  rightName,
  visitStatements,
} from "@millrace/graph";
import { compileContract } from "./compile-contract.ts";
import type { Elements } from "./elements.ts";
import { storedElements } from "./elements.ts";
import { compileExpr, compileIndex, elementsOf, f32Rules, slotOf } from "./evaluate-expr.ts";
import type { Execute, KernelContext, ParallelOrder } from "./kernel-context.ts";
import { compileLoop, declareName } from "./kernel-context.ts";

/** Prepares one kernel call. `elements[i]` is bound to the kernel's buffer i. */
export function compileKernel(
  kernel: Kernel,
  elements: readonly Elements[],
  sizes: ReadonlyMap<string, number>,
  where: string,
  parallelOrder: ParallelOrder,
): Execute {
  let used = 0;
  return compileBlock(kernel.body, {
    frame: new Float64Array(countSlots(kernel)),
    slots: new Map(),
    buffers: new Map(kernel.buffers.map(({ name }, i) => [name, elements[i]!])),
    sizes,
    rules: f32Rules,
    where,
    kernel,
    parallelOrder,
    takeSlot: () => used++,
  });
}

/** Axes, lets, variables, results and operands of combine: at most this many numbers are live. */
function countSlots(kernel: Kernel): number {
  let count = 0;
  visitStatements(kernel.body, (statement) => {
    count += rangesOf(statement).length;
    if (statement.kind === "reduce") count += 3 * statement.results.length;
    else if (statement.kind !== "store" && statement.kind !== "assign") count += 1;
  });
  return count;
}

/** The statements of a block in order, and the names that are known after it. */
function compileSequence(
  block: readonly Statement[],
  context: KernelContext,
): readonly [Execute, KernelContext] {
  const steps: Execute[] = [];
  let current = context;
  for (const statement of block) {
    const [step, next] = compileStatement(statement, current);
    steps.push(step);
    current = next;
  }
  if (steps.length === 1) return [steps[0]!, current];
  const execute = (): void => {
    for (let i = 0; i < steps.length; i++) steps[i]!();
  };
  return [execute, current];
}

function compileBlock(block: readonly Statement[], context: KernelContext): Execute {
  return compileSequence(block, context)[0];
}

/** The statement, and the context of those after it. */
function compileStatement(
  statement: Statement,
  context: KernelContext,
): readonly [Execute, KernelContext] {
  const { frame } = context;
  switch (statement.kind) {
    case "loop": {
      const backwards = statement.order === "parallel" && context.parallelOrder === "descending";
      const inner = (body: KernelContext): Execute => compileBlock(statement.body, body);
      return [compileLoop(statement.range, context, inner, backwards), context];
    }
    case "let":
    case "variable": {
      const value = compileExpr(statement.value, context);
      const { slot, context: next } = declareName(context, statement.name);
      return [
        () => {
          frame[slot] = value();
        },
        next,
      ];
    }
    case "array": {
      // Filled with NaN each time, so that a read of what was never stored shows.
      const data = new Float32Array(elementCount(statement.shape));
      const elements = storedElements(statement.dtype, statement.shape, data, statement.name);
      const buffers = new Map([...context.buffers, [statement.name, elements]]);
      return [() => void data.fill(Number.NaN), { ...context, buffers }];
    }
    case "assign": {
      const value = compileExpr(statement.value, context);
      const slot = slotOf(statement.name, context);
      return [
        () => {
          frame[slot] = value();
        },
        context,
      ];
    }
    case "store":
      return [compileStore(statement.buffer, statement.index, statement.value, context), context];
    case "if": {
      const condition = compileExpr(statement.condition, context);
      const body = compileBlock(statement.body, context);
      return [
        () => {
          if (condition() !== 0) body();
        },
        context,
      ];
    }
    case "reduce":
      return compileReduce(statement, context);
    case "contract":
      return [compileContract(statement, context, compileBlock), context];
  }
}

function compileStore(
  buffer: string,
  index: readonly Expr[],
  value: Expr,
  context: KernelContext,
): Execute {
  if (context.kernel.buffers.find(({ name }) => name === buffer)?.access === "read")
    throw new InternalError({
      what: `buffer "${buffer}" is read only, but stored to`,
      where: context.where,
    });
  const elements = elementsOf(buffer, context);
  const at = compileIndex(`store to "${buffer}"`, index, elements, context);
  const stored = compileExpr(value, context);
  const { set } = elements;
  return () => set(at(), stored());
}

/** Left fold in the order of the ranges, outermost first. */
function compileReduce(reduce: Reduce, context: KernelContext): readonly [Execute, KernelContext] {
  const { frame } = context;
  const identity = reduce.identity.map((expr) => compileExpr(expr, context));
  let combining = context;
  const add = (name: string): number => {
    const declared = declareName(combining, name);
    combining = declared.context;
    return declared.slot;
  };
  const leftSlots = reduce.results.map((_, i) => add(leftName(i)));
  const rightSlots = reduce.results.map((_, i) => add(rightName(i)));
  const combine = reduce.combine.map((expr) => compileExpr(expr, combining));
  const next = new Float64Array(combine.length);

  const element = (inner: KernelContext): Execute => {
    const [lets, known] = compileSequence(reduce.body, inner);
    const values = reduce.values.map((expr) => compileExpr(expr, known));
    return () => {
      lets();
      for (let i = 0; i < values.length; i++) frame[rightSlots[i]!] = values[i]!();
      // All components read the old ones before any is replaced.
      for (let i = 0; i < combine.length; i++) next[i] = combine[i]!();
      for (let i = 0; i < combine.length; i++) frame[leftSlots[i]!] = next[i]!;
    };
  };
  const nest = (ranges: readonly Range[], inner: KernelContext): Execute => {
    const [range, ...rest] = ranges;
    return range ? compileLoop(range, inner, (body) => nest(rest, body)) : element(inner);
  };
  const loops = nest(reduce.ranges, context);

  let after = context;
  const resultSlots = reduce.results.map(({ name }) => {
    const declared = declareName(after, name);
    after = declared.context;
    return declared.slot;
  });
  const execute = (): void => {
    for (let i = 0; i < identity.length; i++) frame[leftSlots[i]!] = identity[i]!();
    loops();
    for (let i = 0; i < resultSlots.length; i++) frame[resultSlots[i]!] = frame[leftSlots[i]!]!;
  };
  return [execute, after];
}
