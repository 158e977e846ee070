/**
 * The body of one WebAssembly function. In: calls that append instructions in stack order. Out: the encoded
 * body with its local declarations. Labels are objects, so branch depths are never counted by hand; whether the
 * stack types fit is left to `WebAssembly.validate`.
 */
import { InternalError } from "@millrace/graph";
import { ByteBuffer } from "./byte-buffer.ts";
import type {
  AtomicOp,
  LaneOp,
  MemoryLaneOp,
  MemoryOp,
  PlainOp,
  StructuralOp,
  ValueType,
} from "./opcodes.ts";
import {
  atomicOpcodes,
  laneOpcodes,
  memoryLaneOpcodes,
  memoryOpcodes,
  plainOpcodes,
  structuralOpcodes,
  valueTypeCodes,
} from "./opcodes.ts";

/** A parameter or local variable of the function that made it. */
export interface Local {
  readonly index: number;
  readonly type: ValueType;
}

/** A global of the module. */
export interface Global {
  readonly index: number;
  readonly type: ValueType;
}

/** Something that can be called: its place in the function index space. */
export interface FunctionRef {
  readonly index: number;
  readonly params: readonly ValueType[];
  readonly results: readonly ValueType[];
}

/** Target of a branch: the end of a block, or the start of a loop. */
export interface Label {
  readonly depth: number;
}

/** A place in a function where code can still be inserted, such as before a loop. */
export interface InsertionPoint {
  readonly code: ByteBuffer;
}

const EMPTY_BLOCK = 0x40;
/** Bit of an access's alignment. */
const MEMORY_FOLLOWS = 0x40;

/** Bounds of a counted loop; `end` is exclusive. */
export interface LoopBounds {
  readonly start: number | Local;
  readonly end: number | Local;
  readonly step?: number;
  /** The counter, when the caller needs to choose it. */
  readonly index?: Local;
}

/** Appends instructions to one function. Made by `ModuleBuilder.define`. */
export class FunctionBuilder {
  readonly params: readonly Local[];
  readonly #locals: ValueType[] = [];
  #code: ByteBuffer = new ByteBuffer();
  #depth = 0;
  #standIns: readonly Local[] | undefined;

  constructor(params: readonly ValueType[]) {
    this.params = params.map((type, index) => ({ index, type }));
  }

  /** Parameter `i`, or what stands for it. */
  param(i: number): Local {
    const local = (this.#standIns ?? this.params)[i];
    if (local === undefined)
      throw new InternalError({ what: `the function has no parameter ${i}` });
    return local;
  }

  /** Runs `body`, which was written for a function of its own, with these locals for its parameters. */
  withParams(locals: readonly Local[], body: () => void): void {
    const outer = this.#standIns;
    this.#standIns = locals;
    body();
    this.#standIns = outer;
  }

  /** A new local of `type`. Locals are never shared: code may be inserted before code that was emitted earlier. */
  local(type: ValueType): Local {
    return { index: this.params.length + this.#locals.push(type) - 1, type };
  }

  /** Appends to an insertion point instead of the end. The code must not branch out of itself. */
  insertAt(point: InsertionPoint, body: () => void): void {
    const outer = this.#code;
    this.#code = point.code;
    body();
    this.#code = outer;
  }

  /** Runs `body`, which may insert code in front of everything it appends. */
  withInsertionPoint(body: (point: InsertionPoint) => void): void {
    const outer = this.#code;
    const point = { code: new ByteBuffer() };
    this.#code = new ByteBuffer();
    body(point);
    outer.append(point.code.bytes());
    outer.append(this.#code.bytes());
    this.#code = outer;
  }

  #opcode(code: number): void {
    const prefix = code >>> 16;
    if (prefix !== 0) {
      this.#code.byte(prefix);
      this.#code.unsigned(code & 0xffff);
    } else this.#code.byte(code);
  }

  #structural(op: StructuralOp): void {
    this.#opcode(structuralOpcodes[op]);
  }

  /** Any instruction without an immediate; several are appended in order. */
  op(...names: readonly PlainOp[]): void {
    for (const name of names) this.#opcode(plainOpcodes[name]);
  }

  i32(value: number): void {
    this.#structural("i32.const");
    this.#code.signed(value);
  }

  i64(value: bigint): void {
    this.#structural("i64.const");
    this.#code.signed64(value);
  }

  f32(value: number): void {
    this.#structural("f32.const");
    this.#code.float32(value);
  }

  f64(value: number): void {
    this.#structural("f64.const");
    this.#code.float64(value);
  }

  /** A register with `value` in its four float lanes. */
  f32x4(value: number): void {
    this.#structural("v128.const");
    for (let lane = 0; lane < 4; lane++) this.#code.float32(value);
  }

  /** A register with `value` in its two double lanes. */
  f64x2(value: number): void {
    this.#structural("v128.const");
    for (let lane = 0; lane < 2; lane++) this.#code.float64(value);
  }

  /** A register with these integer lanes, or one value in all four. */
  i32x4(...lanes: readonly number[]): void {
    this.#structural("v128.const");
    for (let lane = 0; lane < 4; lane++) this.#code.int32((lanes[lane] ?? lanes[0] ?? 0) | 0);
  }

  get(local: Local): void {
    this.#structural("local.get");
    this.#code.unsigned(local.index);
  }

  set(local: Local): void {
    this.#structural("local.set");
    this.#code.unsigned(local.index);
  }

  tee(local: Local): void {
    this.#structural("local.tee");
    this.#code.unsigned(local.index);
  }

  /** Stores the top of the stack in a new local. */
  save(type: ValueType): Local {
    const local = this.local(type);
    this.set(local);
    return local;
  }

  globalGet(global: Global): void {
    this.#structural("global.get");
    this.#code.unsigned(global.index);
  }

  globalSet(global: Global): void {
    this.#structural("global.set");
    this.#code.unsigned(global.index);
  }

  #memoryArgument(natural: number, offset: number, align = natural, memory = 0): void {
    // The first memory has no number in the encoding; bit 6 says that another one's follows.
    this.#code.unsigned(Math.min(align, natural) | (memory > 0 ? MEMORY_FOLLOWS : 0));
    if (memory > 0) this.#code.unsigned(memory);
    this.#code.unsigned(offset);
  }

  /** A load or store; `align` is the log2 of the alignment hint, `memory` the number of the memory in the module. */
  memory(op: MemoryOp, offset = 0, align?: number, memory?: number): void {
    const [code, natural] = memoryOpcodes[op];
    this.#opcode(code);
    this.#memoryArgument(natural, offset, align, memory);
  }

  /** An atomic access; its address must be aligned. */
  atomic(op: AtomicOp, offset = 0): void {
    const [code, natural] = atomicOpcodes[op];
    this.#opcode(code);
    this.#memoryArgument(natural, offset);
  }

  memoryLane(op: MemoryLaneOp, lane: number, offset = 0, align?: number, memory?: number): void {
    const [code, natural] = memoryLaneOpcodes[op];
    this.#opcode(code);
    this.#memoryArgument(natural, offset, align, memory);
    this.#code.byte(lane);
  }

  lane(op: LaneOp, lane: number): void {
    this.#opcode(laneOpcodes[op]);
    this.#code.byte(lane);
  }

  /** Bytes of two registers, chosen by sixteen byte indices. */
  shuffleBytes(bytes: readonly number[]): void {
    this.#structural("i8x16.shuffle");
    for (let i = 0; i < 16; i++) this.#code.byte(bytes[i] ?? 0);
  }

  /** 32-bit lanes of two registers: 0–3 of the first, 4–7 of the second. */
  shuffle32(a: number, b: number, c: number, d: number): void {
    this.shuffleBytes([a, b, c, d].flatMap((l) => [4 * l, 4 * l + 1, 4 * l + 2, 4 * l + 3]));
  }

  memoryCopy(): void {
    this.#structural("memory.copy");
    this.#code.byte(0);
    this.#code.byte(0);
  }

  memoryFill(): void {
    this.#structural("memory.fill");
    this.#code.byte(0);
  }

  call(target: FunctionRef): void {
    this.#structural("call");
    this.#code.unsigned(target.index);
  }

  #region(
    op: "block" | "loop" | "if",
    result: ValueType | undefined,
    body: (label: Label) => void,
  ): void {
    this.#structural(op);
    this.#code.byte(result === undefined ? EMPTY_BLOCK : valueTypeCodes[result]);
    this.#depth++;
    body({ depth: this.#depth });
    this.#depth--;
    this.#structural("end");
  }

  /** A block; branching to its label leaves it. */
  block(body: (label: Label) => void, result?: ValueType): void {
    this.#region("block", result, body);
  }

  /** A loop; branching to its label repeats it. */
  repeat(body: (label: Label) => void): void {
    this.#region("loop", undefined, body);
  }

  /** Takes an i32 from the stack. */
  ifElse(then: (label: Label) => void, otherwise?: () => void, result?: ValueType): void {
    this.#region("if", result, (label) => {
      then(label);
      if (otherwise) {
        this.#structural("else");
        otherwise();
      }
    });
  }

  br(label: Label): void {
    this.#structural("br");
    this.#code.unsigned(this.#depth - label.depth);
  }

  /** Takes an i32 from the stack. */
  brIf(label: Label): void {
    this.#structural("br_if");
    this.#code.unsigned(this.#depth - label.depth);
  }

  /** Pushes a number or the value of an i32 local. */
  push(value: number | Local): void {
    if (typeof value === "number") this.i32(value);
    else this.get(value);
  }

  /** Adds a constant to an i32 local. */
  increment(local: Local, by: number | Local): void {
    this.get(local);
    this.push(by);
    this.op("i32.add");
    this.set(local);
  }

  /**
   * Runs `body` for each index from `start` to before `end` (signed); nothing is emitted for an empty range. What is
   * inserted at `before` runs once, and only if the loop runs at all.
   */
  loop(bounds: LoopBounds, body: (index: Local, before: InsertionPoint) => void): void {
    const { start, end, step = 1 } = bounds;
    const known = typeof start === "number" && typeof end === "number";
    if (known && start >= end) return;
    const index = bounds.index ?? this.local("i32");
    this.push(start);
    this.set(index);
    const emit = (): void =>
      this.withInsertionPoint((before) => {
        this.repeat((again) => {
          body(index, before);
          this.increment(index, step);
          this.get(index);
          this.push(end);
          this.op("i32.lt_s");
          this.brIf(again);
        });
      });
    if (known) {
      emit();
      return;
    }
    this.get(index);
    this.push(end);
    this.op("i32.lt_s");
    this.ifElse(emit);
  }

  /** The encoded body: local declarations, code, end. */
  encode(): ByteBuffer {
    if (this.#depth !== 0) throw new InternalError({ what: "a function ends inside a block" });
    const runs: [ValueType, number][] = [];
    for (const type of this.#locals) {
      const last = runs.at(-1);
      if (last?.[0] === type) last[1]++;
      else runs.push([type, 1]);
    }
    const body = new ByteBuffer();
    body.unsigned(runs.length);
    for (const [type, count] of runs) {
      body.unsigned(count);
      body.byte(valueTypeCodes[type]);
    }
    body.append(this.#code.bytes());
    body.byte(structuralOpcodes.end);
    return body;
  }
}
