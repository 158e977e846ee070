/**
 * Names the parts of expressions that occur more than once. In: expressions that share sub-expressions as objects. Out:
 * `let` statements, each evaluated once, and the expressions in terms of them. A part that occurs only inside the branches of
 * a `select` stays where it is: it may not be evaluated at all.
 */
import type { Expr } from "../expression.ts";
import { local } from "../expression.ts";
import type { Statement } from "../kernel.ts";
import { formatDim } from "../shape.ts";

/** Numbers the locals of one kernel. */
export interface Names {
  next: number;
}

/** Gives equal expressions equal numbers, in time linear in the number of objects. */
export class Interner {
  readonly #byObject = new Map<Expr, number>();
  readonly #byKey = new Map<string, number>();

  idOf(expr: Expr): number {
    const known = this.#byObject.get(expr);
    if (known !== undefined) return known;
    const key = this.#key(expr);
    const id = this.#byKey.get(key) ?? this.#byKey.size;
    this.#byKey.set(key, id);
    this.#byObject.set(expr, id);
    return id;
  }

  #key(expr: Expr): string {
    switch (expr.kind) {
      case "literal":
        return `${Object.is(expr.value, -0) ? "-0" : expr.value}${expr.type}`;
      case "axis":
        return `axis ${expr.name}`;
      case "local":
        return `local ${expr.name}`;
      case "size":
        return `<${formatDim(expr.dim)}>`;
      case "load":
        return `${expr.buffer}[${expr.index.map((i) => this.idOf(i)).join(",")}]`;
      case "apply":
        return `${expr.op}:${expr.type}(${expr.args.map((i) => this.idOf(i)).join(",")})`;
      case "round":
        return `${expr.dtype}(${this.idOf(expr.value)})`;
    }
  }
}

export function share(
  exprs: readonly Expr[],
  names: Names,
): { readonly lets: readonly Statement[]; readonly exprs: readonly Expr[] } {
  const counts = new Map<number, { uses: number; certain: boolean }>();
  const interner = new Interner();
  const keyOf = (expr: Expr): number => interner.idOf(expr);
  const count = (expr: Expr, certain: boolean): void => {
    if (!worthNaming(expr)) {
      for (const { part, guarded } of partsOf(expr)) count(part, certain && !guarded);
      return;
    }
    const key = keyOf(expr);
    const entry = counts.get(key);
    if (entry) {
      entry.uses++;
      // Its parts were counted at the first use; only their certainty may have grown.
      if (entry.certain || !certain) return;
      entry.certain = true;
    } else counts.set(key, { uses: 1, certain });
    for (const { part, guarded } of partsOf(expr)) count(part, certain && !guarded);
  };
  for (const expr of exprs) count(expr, true);

  const lets: Statement[] = [];
  const named = new Map<number, Expr>();
  const rebuild = (expr: Expr): Expr => {
    const counted = worthNaming(expr) ? counts.get(keyOf(expr)) : undefined;
    const shared = counted !== undefined && counted.uses > 1 && counted.certain;
    if (!shared) return rebuildParts(expr, rebuild);
    const key = keyOf(expr);
    const known = named.get(key);
    if (known) return known;
    const value = rebuildParts(expr, rebuild);
    const name = `t${names.next++}`;
    lets.push({ kind: "let", name, value });
    const reference = local(name, expr.type);
    named.set(key, reference);
    return reference;
  };
  return { exprs: exprs.map(rebuild), lets };
}

/** Integer arithmetic is left to the backend, which folds it into addresses. */
function worthNaming(expr: Expr): boolean {
  if (expr.kind === "load" || expr.kind === "round") return true;
  return expr.kind === "apply" && !(expr.type === "i32" || isIndexTest(expr));
}

const isIndexTest = (expr: Expr): boolean =>
  expr.kind === "apply" &&
  expr.type === "bool" &&
  expr.args.every((arg) => arg.type === "i32" && arg.kind !== "load");

function partsOf(expr: Expr): readonly { readonly part: Expr; readonly guarded: boolean }[] {
  switch (expr.kind) {
    case "apply":
      return expr.args.map((part, i) => ({ part, guarded: expr.op === "select" && i > 0 }));
    case "load":
      return expr.index.map((part) => ({ part, guarded: false }));
    case "round":
      return [{ part: expr.value, guarded: false }];
    default:
      return [];
  }
}

function rebuildParts(expr: Expr, rebuild: (part: Expr) => Expr): Expr {
  switch (expr.kind) {
    case "apply":
      return { ...expr, args: expr.args.map(rebuild) };
    case "load":
      return { ...expr, index: expr.index.map(rebuild) };
    case "round":
      return { ...expr, value: rebuild(expr.value) };
    default:
      return expr;
  }
}
