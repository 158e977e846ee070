/**
 * How a kernel becomes WebAssembly. In: a kernel and what the machine can do. Out: the kernel with its parallel loops in
 * the order they are run, and a choice per loop, reduction and product. Pure and printable; emits nothing.
 * A loop or reduction is worth four lanes when its elements are neighbours; the estimate counts accesses per element.
 */
import type { DType, Dim, Expr, Kernel, Range, Statement } from "@millrace/graph";
import { blockOf, expressionsOf, maxDim, visitExpr, visitStatements } from "@millrace/graph";
import type { ContractChoice } from "./contract.ts";
import { chooseContract } from "./contract.ts";
import { movementOf, variesWith } from "./stride.ts";
import type { Movement, Scope } from "./stride.ts";

/** What was decided for one statement. */
export type Choice =
  /** Four iterations at once, or one. */
  | { readonly kind: "loop"; readonly lanes: boolean }
  /** Partial results in four lanes over the innermost range, or one after the other. */
  | { readonly kind: "reduce"; readonly lanes: boolean }
  | ContractChoice;

/** A kernel as it will be emitted. */
export interface Configuration {
  readonly body: readonly Statement[];
  readonly choices: ReadonlyMap<Statement, Choice>;
}

/** Cost of an access, or of eight, relative to one scalar access. */
const scalarCost = 1;
const vectorCosts: Readonly<Record<Movement, number>> = {
  still: 0.1,
  neighbour: 0.27,
  far: 1.1,
  anywhere: 1.4,
};
/** Cost of a branch that elements take or not: it is guessed wrong often, while lanes compute and throw away. */
const branchCost = 4;
/** How much more often an inner loop's accesses happen. */
const tripGuess = 8;

type Shapes = ReadonlyMap<string, readonly Dim[]>;

interface Context {
  readonly wide: boolean;
  readonly shapes: Shapes;
  readonly dtypes: ReadonlyMap<string, DType>;
  readonly lets: ReadonlyMap<string, Expr>;
}

interface Plan {
  readonly cost: number;
  readonly body: readonly Statement[];
  readonly choices: ReadonlyMap<Statement, Choice>;
}

/** Largest number of iterations, or a guess where a loaded bound cuts it short. */
const extentOf = (range: Range): number => maxDim(range.extent);

/** Slow-down of four lanes when the axis does not fill them: the rest runs one by one. */
function tailFactor(range: Range): number {
  if (typeof range.extent !== "number" || range.start || range.end) return 1;
  const n = range.extent;
  return n === 0 ? 1 : (n + 3 * (n % 4)) / n;
}

function accessCost(expr: Expr, shapes: Shapes, scope: Scope | undefined): number {
  let cost = 0;
  visitExpr(expr, (part) => {
    if (part.kind === "load")
      cost += scope
        ? vectorCosts[movementOf(part.index, shapes.get(part.buffer) ?? [], scope)]
        : scalarCost;
    else if (part.kind === "apply")
      cost += scope && variesWith(part, scope) ? 0.05 : scope ? 0.02 : 0.2;
  });
  return cost;
}

/** Cost of the subtree when it runs along `scope`'s axis in lanes, or, without a scope, one by one. */
function blockCost(block: readonly Statement[], shapes: Shapes, scope: Scope | undefined): number {
  let cost = 0;
  for (const statement of block) {
    if (statement.kind === "reduce") {
      cost += reduceCost(statement, shapes, scope);
      continue;
    }
    for (const expr of expressionsOf(statement)) cost += accessCost(expr, shapes, scope);
    if (statement.kind === "store")
      cost += scope
        ? vectorCosts[movementOf(statement.index, shapes.get(statement.buffer) ?? [], scope)] * 1.5
        : scalarCost;
    cost +=
      blockCost(blockOf(statement), shapes, scope) * (statement.kind === "if" ? 1 : tripGuess);
  }
  return cost;
}

/**
 * The names that differ between iterations of an axis, or undefined if the block cannot run four iterations at once:
 * inner loops would have different bounds, a product or an array is inside, or a variable from outside is assigned.
 */
function lanesThrough(block: readonly Statement[], scope: Scope): Scope | undefined {
  const varying = new Set(scope.varying);
  const inside = new Set<string>();
  const lets = new Map(scope.lets);
  const walk = (statements: readonly Statement[]): boolean =>
    statements.every((statement) => {
      const here: Scope = { axis: scope.axis, lets, varying };
      const even = (range: Range): boolean =>
        [range.start, range.end].every((bound) => !bound || !variesWith(bound, here));
      switch (statement.kind) {
        case "let":
          if (variesWith(statement.value, here)) varying.add(statement.name);
          lets.set(statement.name, statement.value);
          return true;
        case "variable":
          inside.add(statement.name);
          varying.add(statement.name);
          return true;
        case "assign":
          return inside.has(statement.name);
        case "store":
          return statement.index.some((index) => variesWith(index, here));
        case "if":
          return walk(statement.body);
        case "loop":
          return even(statement.range) && walk(statement.body);
        case "reduce":
          if (!statement.ranges.every(even)) return false;
          for (const { name } of statement.results) varying.add(name);
          return walk(statement.body);
        case "contract":
        case "array":
          return false;
      }
    });
  return walk(block) ? { axis: scope.axis, lets, varying } : undefined;
}

const single = (statement: Statement): Plan => ({
  cost: 0,
  body: [statement],
  choices: new Map(),
});

export type Loop = Extract<Statement, { kind: "loop" }>;

/** The loops of a perfect nest of parallel loops whose bounds do not depend on each other, outermost first. */
export function nestOf(loop: Loop): Loop[] {
  const loops = [loop];
  for (;;) {
    const inner = loops.at(-1)!.body;
    const next = inner[0];
    if (inner.length !== 1 || next?.kind !== "loop" || next.order !== "parallel") return loops;
    const outer = new Set(loops.map((each) => each.range.axis));
    const scopeOf = (axis: string): Scope => ({ axis, lets: new Map(), varying: new Set() });
    const dependent = [next.range.start, next.range.end].some(
      (bound) => bound && [...outer].some((axis) => variesWith(bound, scopeOf(axis))),
    );
    if (dependent) return loops;
    loops.push(next);
  }
}

/** Rebuilds a nest in the given order around `body`. */
function rebuild(
  loops: readonly Loop[],
  body: readonly Statement[],
): { outermost: Loop; loops: Loop[] } {
  const made: Loop[] = [];
  let inner = body;
  for (const loop of loops.toReversed()) {
    const next: Loop = { ...loop, body: inner };
    made.unshift(next);
    inner = [next];
  }
  return { outermost: made[0]!, loops: made };
}

function planLoop(loop: Loop, context: Context): Plan {
  const nest = loop.order === "parallel" ? nestOf(loop) : [loop];
  const inner = nest.at(-1)!.body;
  const body = planBlock(inner, context);
  let best: Plan | undefined;
  const consider = (order: readonly Loop[], lanes: boolean, cost: number, within: Plan): void => {
    if (best && best.cost <= cost) return;
    const { outermost, loops } = rebuild(order, within.body);
    const choices = new Map(within.choices);
    loops.forEach((each, i) =>
      choices.set(each, { kind: "loop", lanes: lanes && i === loops.length - 1 }),
    );
    best = { cost, body: [outermost], choices };
  };
  if (loop.order === "parallel")
    for (const candidate of nest.toReversed()) {
      if (extentOf(candidate.range) < 4) continue;
      const scope = lanesThrough(inner, {
        axis: candidate.range.axis,
        lets: context.lets,
        varying: new Set(),
      });
      if (!scope) continue;
      const cost = blockCost(inner, context.shapes, scope) * tailFactor(candidate.range);
      const order = [...nest.filter((each) => each !== candidate), candidate];
      consider(order, true, cost * tripGuess, {
        cost: 0,
        body: inner,
        choices: scalarChoices(inner),
      });
    }
  consider(nest, false, body.cost * tripGuess + 0.01, body);
  return best!;
}

/** Choices for a block that already runs in lanes, so that nothing inside does. */
function scalarChoices(block: readonly Statement[]): Map<Statement, Choice> {
  const choices = new Map<Statement, Choice>();
  const walk = (statements: readonly Statement[]): void => {
    for (const statement of statements) {
      if (statement.kind === "loop") choices.set(statement, { kind: "loop", lanes: false });
      if (statement.kind === "reduce") choices.set(statement, { kind: "reduce", lanes: false });
      walk(blockOf(statement));
    }
  };
  walk(block);
  return choices;
}

type ReduceStatement = Extract<Statement, { kind: "reduce" }>;

const commutative: ReadonlySet<string> = new Set(["add", "mul", "min", "max", "and", "or", "xor"]);

/** Every component is combined by an operator that does not care for order, and on its own. */
function mayReorder(reduce: ReduceStatement): boolean {
  return reduce.combine.every(
    (expr) =>
      expr.kind === "apply" &&
      commutative.has(expr.op) &&
      expr.args.every((arg) => arg.kind === "local"),
  );
}

function planReduce(reduce: ReduceStatement, context: Context): Plan {
  const scalar = reduceCost(reduce, context.shapes, undefined);
  const plans: Plan[] = [
    {
      ...single(reduce),
      cost: scalar,
      choices: new Map([[reduce, { kind: "reduce", lanes: false }]]),
    },
  ];
  if (mayReorder(reduce))
    for (const range of reduce.ranges.toReversed()) {
      const others = reduce.ranges.filter((each) => each !== range);
      const independent = others.every((other) =>
        [other.start, other.end].every(
          (bound) =>
            !bound || !variesWith(bound, { axis: range.axis, lets: new Map(), varying: new Set() }),
        ),
      );
      const scope = lanesThrough(reduce.body, {
        axis: range.axis,
        lets: context.lets,
        varying: new Set(),
      });
      if (!independent || !scope || extentOf(range) < 4) continue;
      const moved: ReduceStatement = { ...reduce, ranges: [...others, range] };
      plans.push({
        cost: reduceCost(reduce, context.shapes, scope) * tailFactor(range) + 0.1,
        body: [moved],
        choices: new Map([[moved, { kind: "reduce", lanes: true }]]),
      });
    }
  return plans.reduce((best, plan) => (plan.cost < best.cost ? plan : best));
}

function reduceCost(reduce: ReduceStatement, shapes: Shapes, scope: Scope | undefined): number {
  const values = reduce.values.reduce((sum, value) => sum + accessCost(value, shapes, scope), 0);
  return (values + blockCost(reduce.body, shapes, scope)) * tripGuess;
}

function planBlock(block: readonly Statement[], outer: Context): Plan {
  const lets = new Map(outer.lets);
  const context: Context = { ...outer, lets };
  const body: Statement[] = [];
  const choices = new Map<Statement, Choice>();
  let cost = 0;
  for (const statement of block) {
    const plan = planStatement(statement, context);
    if (statement.kind === "let") lets.set(statement.name, statement.value);
    cost += plan.cost;
    body.push(...plan.body);
    for (const [key, choice] of plan.choices) choices.set(key, choice);
  }
  return { cost, body, choices };
}

function planStatement(statement: Statement, context: Context): Plan {
  switch (statement.kind) {
    case "loop":
      return planLoop(statement, context);
    case "reduce":
      return planReduce(statement, context);
    case "if": {
      const plan = planBlock(statement.body, context);
      return { ...plan, cost: plan.cost + branchCost, body: [{ ...statement, body: plan.body }] };
    }
    case "contract": {
      const choice = chooseContract(
        statement,
        context.shapes,
        context.lets,
        context.dtypes,
        context.wide,
        (scope) => lanesThrough(statement.body, scope) !== undefined,
      );
      return { ...single(statement), choices: new Map([[statement, choice]]) };
    }
    default:
      return { ...single(statement), cost: blockCost([statement], context.shapes, undefined) };
  }
}

/** Decides how a kernel is emitted; `wide` says whether the engine makes registers of 256 bits. */
export function configure(kernel: Kernel, wide = false): Configuration {
  const shapes = new Map(kernel.buffers.map((buffer) => [buffer.name, buffer.shape]));
  visitStatements(kernel.body, (statement) => {
    if (statement.kind === "array") shapes.set(statement.name, statement.shape);
  });
  const dtypes = new Map(kernel.buffers.map((buffer) => [buffer.name, buffer.dtype]));
  const { body, choices } = planBlock(kernel.body, { wide, shapes, dtypes, lets: new Map() });
  return { body, choices };
}
