/**
 * Where each value of a kernel is computed. In: values asked for at the point that code has reached. Out: code that leaves
 * them on the stack. A value goes in front of the outermost loop it does not depend on, and into a local when it is
 * used again. Code in front of a loop runs only if the loop does, and reading memory never leaves the branch that
 * guards it, so nothing is read that the program would not read.
 */
import type { FunctionBuilder, InsertionPoint, Local } from "./function-builder.ts";
import type { Library } from "./library.ts";
import type { ValueType } from "./opcodes.ts";
import type { Value, ValueTable } from "./values.ts";

/** A stretch of code in which what was computed stays valid. */
interface Level {
  readonly depth: number;
  readonly cache: Map<Value, Local>;
  /** The place in front of a loop, for the level that stands for it. */
  readonly before?: InsertionPoint;
  /** Code of this level may not run although the code around it does. */
  readonly branch?: boolean;
  /** Lanes that take part, where not all do. */
  readonly mask?: Local;
}

/** The type of WebAssembly value that holds a value. */
export function registerType(value: Value): ValueType {
  if (value.vector) return "v128";
  return value.type === "f32" ? "f32" : "i32";
}

/** Not worth a local: a constant, a local, or a register of zeros. */
const isFree = (value: Value): boolean =>
  value.kind === "constant" ||
  value.kind === "distance" ||
  value.kind === "local" ||
  (value.kind === "splat" && value.of.kind === "constant" && Object.is(value.of.value, 0));

/** A function under emission, with what is known at the current point. */
export class Emission {
  readonly f: FunctionBuilder;
  readonly library: Library;
  readonly table: ValueTable;
  readonly #compute: (emission: Emission, value: Value) => void;
  #levels: readonly Level[] = [{ depth: 0, cache: new Map() }];
  /** The level in front of whose loop code is being put, -1 if none. */
  #open = -1;

  /** `compute` leaves a value on the stack, asking this emission for its operands. */
  constructor(
    f: FunctionBuilder,
    library: Library,
    table: ValueTable,
    compute: (emission: Emission, value: Value) => void,
  ) {
    this.f = f;
    this.library = library;
    this.table = table;
    this.#compute = compute;
  }

  /** Number of open loops. */
  get depth(): number {
    return this.#levels.at(-1)!.depth;
  }

  /** The lanes that take part in what is emitted now; undefined when all do. */
  get mask(): Local | undefined {
    return this.#levels.findLast((level) => level.mask)?.mask;
  }

  #cached(value: Value): Local | undefined {
    for (let i = this.#levels.length - 1; i >= 0; i--) {
      const local = this.#levels[i]!.cache.get(value);
      if (local) return local;
    }
    return undefined;
  }

  /** The outermost loop in front of which a value may be computed, as a level's index. */
  #outermost(value: Value): number {
    if (value.volatile) return -1;
    const lastBranch = value.loads ? this.#levels.findLastIndex((level) => level.branch) : -1;
    const at = this.#levels.findIndex(
      (level, i) => level.before !== undefined && level.depth >= value.depth && i > lastBranch,
    );
    // Code that is being put there now may be inside a branch, and what is appended would be inside it too.
    const inBranch = this.#levels.findLastIndex((level) => level.branch) > at;
    return at >= 0 && at === this.#open && inBranch ? -1 : at;
  }

  #hoist(value: Value, at: number): Local {
    const levels = this.#levels;
    const level = levels[at]!;
    const open = this.#open;
    this.#levels = levels.slice(0, at + 1);
    this.#open = at;
    let local: Local | undefined;
    this.f.insertAt(level.before!, () => {
      this.#compute(this, value);
      local = this.f.save(registerType(value));
    });
    this.#levels = levels;
    this.#open = open;
    level.cache.set(value, local!);
    return local!;
  }

  /** Leaves a value on the stack. */
  emit(value: Value): void {
    const { f } = this;
    if (isFree(value)) {
      this.#compute(this, value);
      return;
    }
    const known = this.#cached(value);
    if (known) {
      f.get(known);
      return;
    }
    const at = this.#outermost(value);
    if (at >= 0) {
      f.get(this.#hoist(value, at));
      return;
    }
    this.#compute(this, value);
    if (value.uses > 1 && !value.volatile) {
      const local = f.local(registerType(value));
      f.tee(local);
      this.#levels.at(-1)!.cache.set(value, local);
    }
  }

  /** A value in a local that nobody changes. */
  hold(value: Value): Local {
    if (value.kind === "local" && !value.volatile) return value.local;
    const known = value.volatile ? undefined : this.#cached(value);
    if (known) return known;
    this.emit(value);
    const again = value.volatile ? undefined : this.#cached(value);
    if (again) {
      this.f.op("drop");
      return again;
    }
    const local = this.f.save(registerType(value));
    if (!value.volatile) this.#levels.at(-1)!.cache.set(value, local);
    return local;
  }

  /** Runs `body` where code may be skipped, on the lanes of `mask` if given. */
  branch(body: () => void, mask?: Local): void {
    const levels = this.#levels;
    const level: Level = { depth: this.depth, cache: new Map(), branch: true };
    this.#levels = [...levels, mask ? { ...level, mask } : level];
    body();
    this.#levels = levels;
  }

  /** A loop over `index`; see `FunctionBuilder.loop`. */
  loop(
    bounds: {
      readonly start: number | Local;
      readonly end: number | Local;
      readonly step?: number;
    },
    body: (index: Local) => void,
  ): void {
    this.f.loop(bounds, (index, before) => {
      const levels = this.#levels;
      const depth = this.depth;
      this.#levels = [
        ...levels,
        { depth, cache: new Map(), before },
        { depth: depth + 1, cache: new Map() },
      ];
      body(index);
      this.#levels = levels;
    });
  }
}
