import { describe, expect, it } from "vitest";
import wabt from "wabt";
import { ModuleBuilder } from "./assembler.ts";
import { disassemble } from "./disassemble.ts";
import {
  atomicOpcodes,
  laneOpcodes,
  memoryLaneOpcodes,
  memoryOpcodes,
  plainOpcodes,
} from "./opcodes.ts";
import type { AtomicOp, LaneOp, MemoryLaneOp, MemoryOp, PlainOp } from "./opcodes.ts";

const features = { simd: true, relaxed_simd: true, bulk_memory: true, threads: true };

async function fromText(text: string): Promise<Uint8Array> {
  const parsed = (await wabt()).parseWat("golden.wat", text, features);
  const { buffer } = parsed.toBinary({ write_debug_names: false });
  parsed.destroy();
  return buffer;
}

const hex = (bytes: Uint8Array): string => Buffer.from(bytes).toString("hex");

describe("opcodes", () => {
  it("encodes every instruction as wabt does", async () => {
    const plain = Object.keys(plainOpcodes) as PlainOp[];
    const memory = Object.keys(memoryOpcodes) as MemoryOp[];
    const memoryLane = Object.keys(memoryLaneOpcodes) as MemoryLaneOp[];
    const atomic = Object.keys(atomicOpcodes) as AtomicOp[];
    const lane = Object.keys(laneOpcodes) as LaneOp[];
    const module = new ModuleBuilder();
    module.importMemory({ module: "env", name: "memory", minimum: 1 });
    module.define({ params: [], results: [] }, (f) => {
      f.op(...plain);
      for (const op of memory) {
        f.memory(op);
        f.memory(op, 1000, 0);
      }
      for (const op of memoryLane) f.memoryLane(op, 1, 300);
      for (const op of atomic) f.atomic(op, 64);
      for (const op of lane) f.lane(op, 1);
    });
    // An unreachable end would make the text's types fit; wabt parses without checking them anyway.
    const text = [
      '(module (import "env" "memory" (memory 1)) (func',
      ...plain,
      ...memory.flatMap((op) => [op, `${op} offset=1000 align=1`]),
      ...memoryLane.map((op) => `${op} offset=300 1`),
      ...atomic.map((op) => `${op} offset=64`),
      ...lane.map((op) => `${op} 1`),
      "))",
    ].join("\n");
    const bytes = module.encode();
    expect(hex(bytes)).toBe(hex(await fromText(text)));
    expect(hex(await fromText(disassemble(bytes)))).toBe(hex(bytes));
  });
});

describe("ModuleBuilder", () => {
  const module = new ModuleBuilder();
  module.importMemory({ module: "env", name: "memory", minimum: 1, maximum: 10, shared: true });
  const log = module.importFunction("env", "log", { params: ["i32"], results: [] });
  const answer = module.global("i32", -42);
  const ratio = module.global("f32", 0.5, true);
  const helper = module.define({ params: ["v128", "f32"], results: ["v128"] }, (f) => {
    f.get(f.param(0));
    f.get(f.param(1));
    f.op("f32x4.splat", "f32x4.mul");
    f.f32x4(1.5);
    f.i32x4(1, 2, 3, -4);
    f.op("f32x4.add", "v128.not");
  });
  const main = module.define({ params: ["i32", "i32"], results: ["i32"] }, (f) => {
    const sum = f.local("i32");
    const wide = f.local("i64");
    f.i64(-5_000_000_000n);
    f.set(wide);
    f.block((out) => {
      f.get(f.param(0));
      f.op("i32.eqz");
      f.brIf(out);
      f.repeat((again) => {
        f.increment(sum, 128);
        f.get(sum);
        f.i32(100_000);
        f.op("i32.lt_s");
        f.ifElse(
          () => f.br(again),
          () => f.br(out),
        );
      });
    });
    f.get(sum);
    f.call(log);
    f.f64(3.25);
    f.op("f64.sqrt", "drop");
    f.globalGet(answer);
    f.f32(-1.5);
    f.globalSet(ratio);
    f.tee(sum);
    f.get(sum);
    f.get(f.param(1));
    f.memoryCopy();
    f.i32(0);
    f.i32(-1);
    f.i32(64);
    f.memoryFill();
    f.f32x4(2);
    f.f32(1);
    f.call(helper);
    f.f32x4(0);
    f.shuffle32(0, 4, 1, 5);
    f.op("v128.any_true");
    f.ifElse(
      () => f.i32(1),
      () => f.i32(2),
      "i32",
    );
  });
  module.export("main", main);
  module.data(70_000, Uint8Array.of(1, 2, 3));

  it("encodes a module byte for byte as wabt does", async () => {
    // The value left by globalGet, then tee, is the destination of memory.copy.
    const text = `(module
      (type (func (param i32)))
      (type (func (param v128 f32) (result v128)))
      (type (func (param i32 i32) (result i32)))
      (import "env" "log" (func (type 0)))
      (import "env" "memory" (memory 1 10 shared))
      (global i32 (i32.const -42))
      (global (mut f32) (f32.const 0.5))
      (func (type 1) local.get 0 local.get 1 f32x4.splat f32x4.mul
        v128.const f32x4 1.5 1.5 1.5 1.5 v128.const i32x4 1 2 3 -4 f32x4.add v128.not)
      (func (type 2) (local i32 i64)
        i64.const -5000000000 local.set 3
        block
          local.get 0 i32.eqz br_if 0
          loop
            local.get 2 i32.const 128 i32.add local.set 2
            local.get 2 i32.const 100000 i32.lt_s
            if br 1 else br 2 end
          end
        end
        local.get 2 call 0
        f64.const 3.25 f64.sqrt drop
        global.get 0
        f32.const -1.5 global.set 1
        local.tee 2 local.get 2 local.get 1 memory.copy
        i32.const 0 i32.const -1 i32.const 64 memory.fill
        v128.const f32x4 2 2 2 2 f32.const 1 call 1
        v128.const f32x4 0 0 0 0
        i8x16.shuffle 0 1 2 3 16 17 18 19 4 5 6 7 20 21 22 23
        v128.any_true
        if (result i32) i32.const 1 else i32.const 2 end)
      (export "main" (func 2))
      (data (i32.const 70000) "\\01\\02\\03"))`;
    expect(hex(module.encode())).toBe(hex(await fromText(text)));
  });

  it("is read back by the disassembler", async () => {
    const bytes = module.encode();
    expect(hex(await fromText(disassemble(bytes)))).toBe(hex(bytes));
  });

  it("is valid", () => {
    // The module above leaves values on its stacks, for the bytes alone; this one fits its types.
    const clean = new ModuleBuilder();
    clean.importMemory({ module: "env", name: "memory", minimum: 1 });
    const sum = clean.define({ params: ["i32", "i32"], results: ["i32"] }, (f) => {
      const total = f.local("i32");
      f.loop({ start: f.param(0), end: f.param(1), step: 2 }, (index, before) => {
        f.insertAt(before, () => {
          f.i32(1000);
          f.set(total);
        });
        f.increment(total, index);
      });
      f.get(total);
    });
    clean.export("sum", sum);
    const bytes = clean.encode();
    expect(WebAssembly.validate(bytes)).toBe(true);
    const memory = new WebAssembly.Memory({ initial: 1 });
    const instance = new WebAssembly.Instance(new WebAssembly.Module(bytes), { env: { memory } });
    const run = instance.exports["sum"] as (a: number, b: number) => number;
    expect(run(3, 8)).toBe(1000 + 3 + 5 + 7);
    expect(run(8, 8)).toBe(0);
    expect(run(-2, 1)).toBe(1000 - 2 + 0);
  });

  it("refuses an import after a definition", () => {
    expect(() => module.importFunction("env", "late", { params: [], results: [] })).toThrow(
      /internal: the import env\.late/,
    );
  });
});
