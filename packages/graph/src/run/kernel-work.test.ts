// Work of kernels whose numbers can be counted by hand.
import { expect, it } from "vitest";
import type { Kernel } from "../kernel.ts";
import { parseKernel } from "../parse.ts";
import { kernelWork } from "./kernel-work.ts";

const none = new Map<string, number>();
const kernel = (...lines: readonly string[]): Kernel => parseKernel(lines.join("\n"));

it("a product with a sum behind it, for the sizes of a run", () => {
  const product = kernel(
    "kernel product {",
    "  size B in 1..8",
    "  read b0: f32[B, 5]",
    "  read b1: bf16[3, 5]",
    "  write b2: f32[B, 3]",
    "  contract rows m < B, columns n < 3, depth k < 5",
    "    lhs b0[m, k]",
    "    rhs b1[n, k]",
    "    result product {",
    "      store b2[m, n] = product + 1.0",
    "    }",
    "}",
  );
  expect(kernelWork(product, new Map([["B", 4]]))).toEqual({
    flops: 2 * 4 * 3 * 5 + 4 * 3,
    productFlops: 2 * 4 * 3 * 5,
    bytesRead: 4 * 4 * 5 + 2 * 3 * 5,
    bytesWritten: 4 * 4 * 3,
  });
});

it("a sum of products, in which indices are no operations", () => {
  const sum = kernel(
    "kernel sum {",
    "  read b0: f32[6, 2]",
    "  write b1: f32[]",
    "  reduce r_0: f32 over k0 < 6, k1 < 2 {",
    "    let t0 = b0[5 - k0, k1]",
    "    values exp(t0) * t0",
    "    combine l0 + r0",
    "    identity 0.0",
    "  }",
    "  store b1[] = r_0",
    "}",
  );
  expect(kernelWork(sum, none)).toEqual({
    flops: 12 * 3,
    productFlops: 0,
    bytesRead: 12 * 4,
    bytesWritten: 4,
  });
});

it("rows taken from a large table move no more than they are", () => {
  const gather = kernel(
    "kernel gather {",
    "  read ids: i32[2]",
    "  read table: f32[1000, 4]",
    "  write rows: f32[2, 4]",
    "  parallel i < 2 {",
    "    parallel j < 4 {",
    "      store rows[i, j] = table[ids[i], j]",
    "    }",
    "  }",
    "}",
  );
  expect(kernelWork(gather, none)).toEqual({
    flops: 0,
    productFlops: 0,
    bytesRead: 2 * 4 + 2 * 4 * 4,
    bytesWritten: 2 * 4 * 4,
  });
});

it("parts of a range, one for each turn of a loop, add up to the range", () => {
  const ragged = kernel(
    "kernel ragged {",
    "  read x: f32[12, 5]",
    "  read w: f32[4, 3, 5]",
    "  read starts: i32[5]",
    "  write y: f32[12, 3]",
    "  parallel e < 4 {",
    "    contract rows m < 12 from starts[e] to starts[e + 1], columns n < 3, depth k < 5",
    "      lhs x[m, k]",
    "      rhs w[e, n, k]",
    "      result product {",
    "        store y[m, n] = product",
    "      }",
    "  }",
    "}",
  );
  const work = kernelWork(ragged, none);
  expect(work.flops).toBe(2 * 12 * 3 * 5);
  expect(work.productFlops).toBe(work.flops);
  expect(work.bytesWritten).toBe(4 * 12 * 3);
});

it("bounds that follow from outer loops, through names too", () => {
  const triangle = kernel(
    "kernel triangle {",
    "  size T in 1..100",
    "  read x: f32[T]",
    "  write y: f32[T]",
    "  parallel i < T {",
    "    let turned = select(i % 2 == 0, i / 2, size(T) - 1 - i / 2)",
    "    let end = turned + 1",
    "    serial j < T to end {",
    "      contract rows r < 8 to min(8, size(T)), columns c < 4, depth k < T from max(j, 1)",
    "        lhs x[k]",
    "        rhs x[k]",
    "        result sum {",
    "          store y[i] = sum",
    "        }",
    "    }",
    "  }",
    "}",
  );
  // For each i up to 5, j from 0 to i: as many products as there are k from max(j, 1) up to 5.
  let products = 0;
  for (let i = 0; i < 5; i++) for (let j = 0; j <= i; j++) products += 5 - Math.max(j, 1);
  expect(kernelWork(triangle, new Map([["T", 5]])).productFlops).toBe(2 * 5 * 4 * products);
});
