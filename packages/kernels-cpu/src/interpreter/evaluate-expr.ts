/**
 * Compiles scalar expressions to closures. In: an expression, the slots of its axes and locals, its buffers and the sizes of
 * this run. Out: a function without arguments that reads the frame. Names, sizes and types are looked up while
 * compiling; a load checks each axis while running. Knows neither statements nor graphs. Shared by both interpreters.
 */
import type { Dim, Expr } from "@millrace/graph";
import { InternalError, evaluateDim, roundFloat } from "@millrace/graph";
import type { Elements } from "./elements.ts";
import type { Evaluate, RegisterKind } from "./scalar-ops.ts";
import { scalarOp } from "./scalar-ops.ts";

/** How floats are computed. */
export interface FloatRules {
  /** f32 after every operation, or doubles throughout. */
  readonly arithmetic: "f32" | "f64";
  /** Whether `round` rounds: finite differences need it not to. */
  readonly rounding: boolean;
}

/** What a kernel computes in. */
export const f32Rules: FloatRules = { arithmetic: "f32", rounding: true };
/** One rounding at the end: for sums and products whose order is not the graph's business. */
export const wideRules: FloatRules = { arithmetic: "f64", rounding: true };
/** No rounding at all: the function that the floats approximate. */
export const f64Rules: FloatRules = { arithmetic: "f64", rounding: false };

/** What an expression is compiled over. */
export interface ExprContext {
  /** Current values of axes and locals. */
  readonly frame: Float64Array;
  /** Slot of an axis or local, by name. */
  readonly slots: ReadonlyMap<string, number>;
  readonly buffers: ReadonlyMap<string, Elements>;
  readonly sizes: ReadonlyMap<string, number>;
  readonly rules: FloatRules;
  /** For errors: the step and kernel, or the node. */
  readonly where: string;
}

/** Compiles an expression; nothing is evaluated yet. */
export function compileExpr(expr: Expr, context: ExprContext): Evaluate {
  switch (expr.kind) {
    case "literal": {
      const narrowed = expr.type === "f32" && context.rules.arithmetic === "f32";
      const value = narrowed ? Math.fround(expr.value) : expr.value;
      return () => value;
    }
    case "size": {
      const value = sizeValue(expr.dim, context);
      return () => value;
    }
    case "axis":
    case "local": {
      const slot = slotOf(expr.name, context);
      const { frame } = context;
      return () => frame[slot] as number;
    }
    case "load": {
      const elements = elementsOf(expr.buffer, context);
      const at = compileIndex(`load of "${expr.buffer}"`, expr.index, elements, context);
      const { get } = elements;
      return () => get(at());
    }
    case "round": {
      const value = compileExpr(expr.value, context);
      const { dtype } = expr;
      return context.rules.rounding ? () => roundFloat(dtype, value()) : value;
    }
    case "apply": {
      const { op, args } = expr;
      const { type } = (op === "select" ? args[1] : args[0])!;
      const kind: RegisterKind = type === "f32" ? context.rules.arithmetic : type;
      const factory = scalarOp(op, kind);
      if (!factory)
        throw new InternalError({
          what: `operator ${op} is not defined on ${type}`,
          where: context.where,
        });
      const [x, y, z] = args.map((arg) => compileExpr(arg, context));
      return factory(x!, y!, z!);
    }
  }
}

export function slotOf(name: string, { slots, where }: ExprContext): number {
  const slot = slots.get(name);
  if (slot === undefined)
    throw new InternalError({ what: `"${name}" is used where it has no value`, where });
  return slot;
}

export function elementsOf(buffer: string, { buffers, where }: ExprContext): Elements {
  const elements = buffers.get(buffer);
  if (!elements) throw new InternalError({ what: `there is no buffer "${buffer}"`, where });
  return elements;
}

export function sizeValue(dim: Dim, { sizes }: ExprContext): number {
  return evaluateDim(dim, sizes);
}

/** Row-major position of a multi-index; each index is checked against its axis. `what` begins the error. */
export function compileIndex(
  what: string,
  index: readonly Expr[],
  { shape }: Elements,
  context: ExprContext,
): Evaluate {
  if (index.length !== shape.length)
    throw new InternalError({
      what: `${what}, shape [${shape.join(", ")}], has ${index.length} indices`,
      where: context.where,
    });
  const parts = index.map((part) => compileExpr(part, context));
  const outside = (): never => {
    const values = parts.map((part) => part());
    throw new InternalError({
      what: `${what} at [${values.join(", ")}] is outside its shape [${shape.join(", ")}]`,
      where: context.where,
    });
  };
  const [i, j, k] = parts as [Evaluate, Evaluate, Evaluate];
  const [m, n, o] = shape as [number, number, number];
  switch (parts.length) {
    case 0:
      return () => 0;
    case 1:
      return () => {
        const a = i();
        return a >= 0 && a < m ? a : outside();
      };
    case 2:
      return () => {
        const a = i();
        const b = j();
        return a >= 0 && a < m && b >= 0 && b < n ? a * n + b : outside();
      };
    case 3:
      return () => {
        const a = i();
        const b = j();
        const c = k();
        return a >= 0 && a < m && b >= 0 && b < n && c >= 0 && c < o
          ? (a * n + b) * o + c
          : outside();
      };
    default:
      return () => {
        let at = 0;
        for (let p = 0; p < parts.length; p++) {
          const a = parts[p]!();
          const extent = shape[p]!;
          if (!(a >= 0 && a < extent)) outside();
          at = at * extent + a;
        }
        return at;
      };
  }
}
