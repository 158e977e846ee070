/**
 * One entry for every kind of statement. In: a statement and the emitter of its kernel. Out: its code. Loops, reductions
 * and products have files of their own; the rest is here.
 */
import type { Statement } from "@millrace/graph";
import { InternalError } from "@millrace/graph";
import { emitContract } from "./contract.ts";
import { registerType } from "./emission.ts";
import type { KernelEmitter } from "./kernel-emitter.ts";
import { emitLoop } from "./loop-statement.ts";
import { emitStore } from "./memory.ts";
import { emitReduce } from "./reduce.ts";
import type { Value } from "./values.ts";

/**
 * Binds a name to a value. What reads memory is read here, because a later store may change it; what changes is
 * kept in a local, and so is what takes long to compute; the rest is computed where it is used.
 */
function emitLet(k: KernelEmitter, name: string, value: Value): void {
  if (value.volatile) {
    k.e.emit(value);
    const local = k.f.save(registerType(value));
    k.bind(name, k.table.local(local, value.type, k.e.depth));
    return;
  }
  if (value.loads || value.costly) k.e.hold(value);
  k.bind(name, value);
}

function emitAssign(k: KernelEmitter, name: string, given: Value): void {
  const { f, e } = k;
  const meaning = k.meaning(name);
  if (meaning.kind !== "variable")
    throw new InternalError({
      what: `${name} is assigned, but it is not a variable`,
      where: `kernel ${k.input.kernel.name}`,
    });
  const { local } = meaning;
  e.emit(local.type === "v128" ? k.table.splat(given) : given);
  if (e.mask && local.type === "v128") {
    f.get(local);
    f.get(e.mask);
    f.op("v128.bitselect");
  }
  f.set(local);
}

function emitVariable(k: KernelEmitter, name: string, first: Value): void {
  const value = k.lanes ? k.table.splat(first) : first;
  k.e.emit(value);
  // A variable is set without regard to the mask: lanes that do not take part never read it.
  k.bindVariable(name, k.f.save(registerType(value)), value.type);
}

function emitIf(k: KernelEmitter, statement: Extract<Statement, { kind: "if" }>): void {
  const { f, e } = k;
  const condition = k.value(statement.condition);
  const body = (): void => k.guarded(() => k.block(statement.body));
  if (!condition.vector) {
    e.emit(condition);
    f.ifElse(() => e.branch(body));
    return;
  }
  e.emit(condition);
  if (e.mask) {
    f.get(e.mask);
    f.op("v128.and");
  }
  const mask = f.save("v128");
  f.get(mask);
  f.op("v128.any_true");
  f.ifElse(() => e.branch(body, mask));
}

/** Emits any statement. */
export function emitStatement(k: KernelEmitter, statement: Statement): void {
  const choice = k.input.choices.get(statement);
  switch (statement.kind) {
    case "loop":
      emitLoop(k, statement, choice?.kind === "loop" && choice.lanes);
      break;
    case "let":
      emitLet(k, statement.name, k.value(statement.value));
      break;
    case "variable":
      emitVariable(k, statement.name, k.value(statement.value));
      break;
    case "assign":
      emitAssign(k, statement.name, k.value(statement.value));
      break;
    case "reduce":
      emitReduce(k, statement, choice?.kind === "reduce" && choice.lanes);
      break;
    case "contract":
      if (choice?.kind !== "contract")
        throw new InternalError({ what: "a product has no configuration" });
      emitContract(k, statement, choice);
      break;
    case "store": {
      const { dtype } = k.buffer(statement.buffer);
      const access = k.access(statement.buffer, statement.index);
      emitStore(k.e, dtype, access, k.value(statement.value));
      break;
    }
    case "array":
      k.bindArray(statement);
      break;
    case "if":
      emitIf(k, statement);
  }
}
