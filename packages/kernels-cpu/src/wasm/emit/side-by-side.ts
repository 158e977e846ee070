/**
 * Statements in several places side by side, each four iterations of a loop further along than the one before. In: statements and the
 * places. Out: their code, one statement in all places before the next: all read and compute before any of them stores, and the last
 * stores first. So an engine that joins pairs of operations on 128 bits finds them (V8 by --experimental-wasm-revectorize), and any
 * other has more operations that do not wait for each other.
 */
import type { Statement } from "@millrace/graph";
import { byteWidth } from "@millrace/graph";
import type { KernelEmitter } from "./kernel-emitter.ts";
import type { Place } from "./loop.ts";
import { prepareStore } from "./memory.ts";
import { emitReduceSideBySide } from "./reduce.ts";
import type { Value } from "./values.ts";
import { operands } from "./values.ts";

/** Places that make one pair. */
export const PAIR = 2;

/** Emits the statements in all places. */
export function emitSideBySide(
  k: KernelEmitter,
  statements: readonly Statement[],
  places: readonly Place[],
): void {
  for (const statement of statements)
    if (statement.kind === "reduce") emitReduceSideBySide(k, statement, places);
    else if (statement.kind === "store") storeSideBySide(k, statement, places);
    else for (const within of places) within(() => k.statement(statement));
}

function storeSideBySide(
  k: KernelEmitter,
  statement: Extract<Statement, { kind: "store" }>,
  places: readonly Place[],
): void {
  const stores: (() => void)[] = [];
  for (const within of places)
    within(() => {
      const { dtype } = k.buffer(statement.buffer);
      const access = k.access(statement.buffer, statement.index);
      k.e.hold(access.address);
      stores.push(prepareStore(k.e, dtype, access, k.value(statement.value)));
    });
  for (const store of stores.toReversed()) store();
}

/** Whether the statements, in lanes along the axis, are made of nothing but operations that come in pairs, side by side. */
export function areInPairs(
  k: KernelEmitter,
  axis: string,
  statements: readonly Statement[],
  names: readonly string[] = [],
): boolean {
  const seen = new Set<Value>();
  const stand = (name: string, vector: boolean): void => {
    const local = k.f.local(vector ? "v128" : "i32");
    k.bind(name, k.table.local(local, vector ? "f32" : "i32", k.e.depth, { natural: true }));
  };
  const isInPairs = (value: Value): boolean => {
    if (seen.has(value)) return true;
    seen.add(value);
    return isPaired(k, value) && operands(value).every(isInPairs);
  };
  // What a name stands for is known only where all statements before have been looked at.
  const areAll = (body: readonly Statement[]): boolean =>
    body.every((statement) => {
      switch (statement.kind) {
        case "let": {
          const value = k.value(statement.value);
          k.bind(statement.name, value);
          return isInPairs(value);
        }
        case "store": {
          const { mode, address } = k.access(statement.buffer, statement.index);
          const isNear = mode === "contiguous" && !address.ahead;
          const { dtype } = k.buffer(statement.buffer);
          return isNear && byteWidth(dtype) === 4 && isInPairs(k.value(statement.value));
        }
        case "reduce": {
          const { ranges, results, values } = statement;
          for (const range of ranges) stand(range.axis, false);
          if (!areAll(statement.body)) return false;
          if (!values.every((value) => isInPairs(k.value(value)))) return false;
          for (const { name } of results) stand(name, true);
          return results.every(({ type }) => type === "f32");
        }
        default:
          return false;
      }
    });
  return k.scoped(() => {
    stand(axis, false);
    k.bindLanes(axis, k.axis(axis), 4);
    for (const name of names) stand(name, true);
    const outer = k.lanes;
    k.lanes = true;
    const answer = areAll(statements);
    k.lanes = outer;
    return answer;
  });
}

/** Operators that are calls. */
const CALLS: ReadonlySet<string> = new Set(["log", "sin", "cos", "tanh", "rem"]);

/** Whether the value itself, in a place that is not the first, is what it is in the first or makes a pair with it. */
function isPaired(k: KernelEmitter, value: Value): boolean {
  switch (value.kind) {
    case "round":
      return false;
    case "splat":
      return !value.of.ahead || value.of.kind === "distance";
    case "load": {
      const { mode, address } = value.access;
      if (mode === "scalar") return true;
      return mode === "contiguous" && !address.ahead && byteWidth(k.dtypeOf(value.buffer)) === 4;
    }
    case "apply": {
      if (!value.vector) return true;
      const { op, args } = value;
      if (op === "select" && !args[0]!.vector && (args[0]!.ahead || value.costly)) return false;
      if (op === "select") return !args.some((arg) => arg.loads);
      if ((op === "shl" || op === "shr") && args[1]!.vector) return false;
      return !CALLS.has(op) && !(op === "div" && value.type !== "f32");
    }
    default:
      return true;
  }
}
