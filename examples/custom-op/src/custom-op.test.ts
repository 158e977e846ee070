import { createInterpreterBackend, createWasmBackend } from "@millrace/kernels-cpu";
import { expect, test } from "vitest";
import { train } from "./train.ts";

test("the layer learns on WebAssembly", async () => {
  const losses = await train(createWasmBackend(), 300);
  expect(losses.at(-1)).toBeLessThan(losses[0]! / 4);
});

test("the interpreter and WebAssembly train alike", async () => {
  const wasm = await train(createWasmBackend(), 5);
  const interpreter = await train(createInterpreterBackend(), 5);
  wasm.forEach((loss, i) => expect(loss).toBeCloseTo(interpreter[i]!, 4));
});
