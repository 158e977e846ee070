import { parseKernel } from "@millrace/graph";
import { expect, it } from "vitest";
import { leastCapabilities } from "../capabilities.ts";
import { unshared } from "../emit/bindings.ts";
import { configureKernel, printConfiguration } from "./configure.ts";

const formOf = (text: string): string => {
  const kernel = parseKernel(text);
  const capabilities = { ...leastCapabilities, software: true };
  return printConfiguration(configureKernel(kernel, unshared(kernel), capabilities));
};

it("few rows of each expert are no reduction per expert, row and column, on a software device either", () => {
  const ragged = `kernel k {
    read offsets: i32[17]
    read x: f32[64, 32]
    read w: f32[16, 64, 32]
    write y: f32[64, 64]
    parallel e < 16 {
      contract rows m < 64 from offsets[e] to offsets[e + 1], columns n < 64, depth k < 32
        lhs x[m, k] rhs w[e, n, k]
        result p { store y[m, n] = p }
    }
  }`;
  expect(formOf(ragged)).toMatch(/tiles of/);
  const plain = `kernel k {
    read x: f32[4, 32]
    read w: f32[64, 32]
    write y: f32[4, 64]
    contract rows m < 4, columns n < 64, depth k < 32
      lhs x[m, k] rhs w[n, k]
      result p { store y[m, n] = p }
  }`;
  expect(formOf(plain)).toMatch(/a workgroup each over m < 4, n < 64/);
});
