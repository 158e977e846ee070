// The WebAssembly backend around its kernels: loading, memory, states, errors, and what it prints.
import type { Program } from "@millrace/graph";
import { hostTensor, parseProgram } from "@millrace/graph";
import { expect, test } from "vitest";
import { createInterpreterBackend } from "../interpreter/backend.ts";
import { createWasmBackend } from "./backend.ts";

/** x + 1, and a state that counts runs. */
const addOne: Program = parseProgram(`program "add one" {
  arena 128 bytes
  state runs: i32[]
  buffer $0: f32[4] at arena 0
  buffer $1: f32[4] at arena 64
  buffer $2: i32[] at state runs
  buffer $3: f32[2] = [1, 2]
  input x: f32[4] in $0
  output y: f32[4] in $1
  kernel add_one {
    read x: f32[4]
    read c: f32[2]
    write y: f32[4]
    update n: i32[]
    parallel i < 4 { store y[i] = x[i] + c[0] }
    store n[] = n[] + 1
  }
  step 0 ($0, $3, $1, $2) // add
}
`);
const x = hostTensor("f32", [4], [1, 2, 3, -1]);

test("programs over one store share its states, and memory is given back", async () => {
  const backend = createWasmBackend({ threads: 1 });
  const store = backend.createStore();
  const first = await backend.load(addOne, store);
  const second = await backend.load(addOne, store);
  expect(first.bytes).toBe(128);
  for (const executable of [first, second, first])
    expect([...(await executable.run({ x }))["y"]!.data]).toEqual([2, 3, 4, 0]);
  expect([...(await store.read("runs")).data]).toEqual([3]);
  first.dispose();
  first.dispose();
  await expect(first.run({ x })).rejects.toThrow(/has been disposed/);
  const third = await backend.load(addOne, store);
  expect([...(await third.run({ x }))["y"]!.data]).toEqual([2, 3, 4, 0]);
  expect([...(await store.read("runs")).data]).toEqual([4]);
});

test("what no run could make right is refused", async () => {
  const backend = createWasmBackend({ threads: 1 });
  const store = backend.createStore();
  const foreign = createInterpreterBackend().createStore();
  await expect(backend.load(addOne, foreign)).rejects.toThrow(/another backend/);
  const huge = { ...addOne, arenaBytes: 2 ** 33 };
  await expect(backend.load(huge, store)).rejects.toThrow(
    /no room for 8589934592 bytes.*the arena of add one/,
  );
  const executable = await backend.load(addOne, store);
  await expect(executable.run({})).rejects.toThrow(/input "x".* is missing/);
});

test("states are zero until written, and keep to their types and sizes", async () => {
  const store = createWasmBackend().createStore();
  store.ensure([
    { name: "a", type: { dtype: "f32", shape: [3] } },
    { name: "b", type: { dtype: "u8", shape: [5] } },
  ]);
  expect(() => store.ensure([{ name: "a", type: { dtype: "f32", shape: [4] } }])).toThrow(
    /state "a" is f32\[3\]/,
  );
  await store.write("a", hostTensor("f32", [2], [1, 2]), 1);
  expect([...(await store.read("a")).data]).toEqual([0, 1, 2]);
  expect([...(await store.read("b")).data]).toEqual([0, 0, 0, 0, 0]);
  expect(store.bytes).toBe(17);
  const two = hostTensor("f32", [2], [1, 2]);
  await expect(store.write("a", two, 2)).rejects.toThrow(/not all within/);
  await expect(store.write("b", two)).rejects.toThrow(/is u8\[5\], the value written f32/);
  await expect(store.read("c")).rejects.toThrow(/no state "c"/);
  store.dispose();
  store.ensure([{ name: "a", type: { dtype: "f32", shape: [3] } }]);
  expect([...(await store.read("a")).data]).toEqual([0, 0, 0]);
});

/** A program of one product, with exp at its end. */
const product = parseProgram(`program product {
  arena 512 bytes
  buffer $0: f32[5, 8] at arena 0
  buffer $1: f32[6, 8] at arena 192
  buffer $2: f32[5, 6] at arena 384
  input x: f32[5, 8] in $0
  input w: f32[6, 8] in $1
  output y: f32[5, 6] in $2
  kernel product {
    read x: f32[5, 8]
    read w: f32[6, 8]
    write y: f32[5, 6]
    contract rows i < 5, columns j < 6, depth k < 8
      lhs x[i, k]
      rhs w[j, k]
      result acc {
        store y[i, j] = exp(acc)
      }
  }
  step 0 ($0, $1, $2) // product
}
`);

test("addresses beyond two gibibytes work", async (context) => {
  const far = createWasmBackend().createStore();
  try {
    far.ensure([{ name: "large", type: { dtype: "u8", shape: [2 ** 31 + 100] } }]);
  } catch {
    context.skip("there is no room for so large a memory");
  }
  const wave = (length: number): number[] => Array.from({ length }, (_, i) => Math.sin(i));
  const inputs = { x: hostTensor("f32", [5, 8], wave(40)), w: hostTensor("f32", [6, 8], wave(48)) };
  const results = [];
  for (const store of [createWasmBackend().createStore(), far]) {
    const executable = await createWasmBackend().load(product, store);
    results.push(await executable.run(inputs));
  }
  expect(results[1]!["y"]!.data).toEqual(results[0]!["y"]!.data);
});

test("print shows the choices, then the module", () => {
  const text = createWasmBackend({ relaxedSimd: false, threads: 1 }).print(product);
  const choices = text.slice(0, text.indexOf("(module")).replace(/\d+ bytes,/, "… bytes,");
  expect(choices).toMatchInlineSnapshot(`
    "wasm module of product: … bytes, 1 kernels, 1 calls, 1024 bytes of scratch, products not fused
    kernel 0 product, called 1 times
      contract blocks of 12 rows, 8 columns, 8 deep; left read along depth, right along depth; body: 4 lanes

    "
  `);
});

test("a loop runs in four lanes, with addresses in front of it", () => {
  const text = createWasmBackend({ threads: 1 }).print(addOne);
  const body = text.slice(text.indexOf("(func (type 0)"), text.indexOf("(func (type 1)"));
  expect(body).toMatchInlineSnapshot(`
    "(func (type 0) (local i32 i32 v128 v128)
        i32.const 0
        local.set 4
        local.get 1
        v128.load32_splat
        local.set 6
        loop
          local.get 0
          i32.const 4
          local.get 4
          i32.mul
          local.tee 5
          i32.add
          v128.load align=4
          local.get 6
          f32x4.add
          local.set 7
          local.get 2
          local.get 5
          i32.add
          local.get 7
          v128.store align=4
          local.get 4
          i32.const 4
          i32.add
          local.set 4
          local.get 4
          i32.const 4
          i32.lt_s
          br_if 0
        end
        local.get 3
        i32.const 1
        local.get 3
        i32.load
        i32.add
        i32.store
      )
      "
  `);
});
