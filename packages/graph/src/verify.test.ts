import { expect, test } from "vitest";

import { InternalError } from "./errors.ts";
import { integer, literal } from "./expression.ts";
import type { Kernel } from "./kernel.ts";
import { arrayBytesOf } from "./kernel.ts";
import { parseGraph, parseKernel, parseProgram } from "./parse.ts";
import { printKernel } from "./print.ts";
import { verifyGraph, verifyKernel, verifyProgram } from "./verify.ts";

function expectViolation(check: () => void, message: string): void {
  expect(check).toThrow(InternalError);
  expect(check).toThrow(message);
}

const graph = `graph g {
  size T in 0..8
  %0 = input() {name: "x"}: f32[T, 4]
  %1 = state() {name: "w"}: f32[4]
  %2 = broadcast(%1) {axes: [1], shape: [size(T), 4]}: f32[T, 4]
  %3 = add(%0, %2): f32[T, 4] // layers.0
  output y = %3
  update w = %1
}`;

test.each([
  [
    "%3 = add(%0, %2)",
    "%3 = add(%0, %3)",
    "%3.0 is not computed before its use: %3 = add(%0, %3): f32[T, 4] // layers.0 at layers.0 (add)",
  ],
  ["%3 = add(%0, %2)", "%3 = add(%0, %2.1)", "%2.1 is not computed"],
  [
    "%3 = add(%0, %2)",
    "%3 = add(%0)",
    "add refuses its inputs (takes 2 inputs, got 1): %3 = add(%0)",
  ],
  ["%3 = add(%0, %2): f32[T, 4]", "%3 = add(%0, %2): f32[T, 5]", "add infers f32[T, 4]"],
  ["size T in 0..8", "size T in 0..8\n  size U in 0..8", undefined],
  ['{name: "w"}', "{}", "state has no name: %1 = state()"],
  ['{name: "w"}', '{name: "v"}', 'update of "w", which is no state'],
  ["output y = %3", "output y = %4", 'output "y" is %4.0, not a value'],
  ["output y = %3", "output y = %3 output y = %2", 'output "y" is declared twice'],
  ["update w = %1", "update w = %3", 'state "w" is updated with f32[T, 4]: %1 = state()'],
  ["%0 = input()", "%0 = constant()", "a constant has no elements: %0"],
])("graph with %s replaced by %s", (from, to, message) => {
  expect(graph).toContain(from);
  verifyGraph(parseGraph(graph));
  const changed = parseGraph(graph.replace(from, to));
  if (message === undefined) verifyGraph(changed);
  else expectViolation(() => verifyGraph(changed), message);
});

test("a graph's sizes have one range each and no size is negative", () => {
  const legal = parseGraph(graph);
  const T = legal.sizes[0]!;
  expectViolation(() => verifyGraph({ ...legal, sizes: [] }), 'size "T" is not declared');
  expectViolation(
    () => verifyGraph({ ...legal, sizes: [{ ...T, max: 9 }] }),
    'size "T" has bounds 0 to 8, declared are 0 to 9',
  );
  expectViolation(() => verifyGraph({ ...legal, sizes: [T, T] }), 'size "T" is declared twice');
  expectViolation(
    () => verifyGraph(parseGraph(graph.replace("f32[T, 4]\n", "f32[T-1, 4]\n"))),
    "size T-1 may be negative",
  );
  expectViolation(
    () => verifyGraph({ ...legal, nodes: legal.nodes.toReversed() }),
    "node 0 has id 3",
  );
});

const kernel = `kernel k {
  size T in 1..8
  read x: f32[T, 4]
  write y: bf16[T]
  update z: i32[]
  parallel t < T {
    reduce s: f32 over k < 4 {
      let v = x[t, k]
      values v * v
      combine l0 + r0
      identity 0.0
    }
    store y[t] = s
  }
  variable n = 0
  serial i < T {
    set n = n + i
  }
  if n > 3 {
    store z[] = n
  }
  contract rows a < T, columns b < T, depth c < 4
    lhs x[a, c]
    rhs x[b, c]
    result acc {
      store y[a] = acc + to_f32(b)
    }
}`;

test.each([
  ["store y[t] = s", "store x[t, 0] = s", '"x" is only read: store x[t, 0] = s'],
  ["store y[t] = s", "store y[t] = y[t]", '"y" is only written'],
  ["store y[t] = s", "store y[t, 0] = s", "2 indices into y, which is bf16[T]"],
  ["store y[t] = s", "store y[s] = s", "s is f32, expected i32: store y[s] = s"],
  ["store y[t] = s", "store y[t] = t", "t is i32, expected f32"],
  ["store y[t] = s", "store w[t] = s", 'there is no buffer "w"'],
  ["store y[t] = s", "let t = 1", '"t" is declared already: let t = 1'],
  ["store y[t] = s", "variable m = 0 parallel u < 3 { set m = u }", "no fixed order: set m = u"],
  ["store y[t] = s", "set s = 1.0", '"s" is not a variable here'],
  ["store y[t] = s", "let u = 1 + s", "add takes 2 of f32 or i32 or u32, got i32, f32 in 1 + s"],
  ["store y[t] = s", "let u = exp(t)", "exp takes 1 of f32, got i32"],
  ["store y[t] = s", "let u = select(1, t, t)", "select takes a bool and two of one type"],
  ["store y[t] = s", "let u = round_bf16(t)", "t is i32, expected f32"],
  ["store y[t] = s", "let u = 3000000000", "3000000000 is not a literal of i32"],
  ["let v = x[t, k]", "let v = x[t, k] store y[t] = v", "a reduction's body holds a store"],
  ["values v * v", "values v * v, v", "a reduction of 1 components has 2 values"],
  ["identity 0.0", "identity 0", "0 is i32, expected f32"],
  ["identity 0.0", "identity 0.0, 0.0", "1 combinations and 2 identities"],
  ["set n = n + i", "set n = 1.0", "1.0 is f32, expected i32: set n = 1.0"],
  ["if n > 3 {", "if n {", "n is i32, expected bool: if n"],
  ["lhs x[a, c]", "lhs x[b, c]", 'axis "b" of i32 is not in scope: contract rows a < T'],
  ["read x: f32[T, 4]", "read x: f32[T, 4] read x: f32[T, 4]", "two buffers have one name"],
  ["store y[t] = s", "array a: f32[2, 3] store a[0, t] = s store y[t] = a[0, t]", undefined],
  ["store y[t] = s", "array x: f32[2]", '"x" is declared already: array x: f32[2]'],
  ["store y[t] = s", "array a: f32[2] array a: f32[3]", '"a" is declared already: array a: f32[3]'],
  ["store y[t] = s", "array a: f32[2, 0]", "an array is of f32 and of sizes from 1 up"],
  ["store y[t] = s", "array a: f32[2] store a[t, t] = s", "2 indices into a, which is f32[2]"],
  ["store y[t] = s", "array a: f32[2] store a[t] = t", "t is i32, expected f32: store a[t] = t"],
  ["serial i < T {", "serial i < T-2 {", "size T-2 may be negative as extent of i"],
  ["serial i < T {", "serial i < T to 1.0 {", "1.0 is f32, expected i32: serial i < T to 1.0"],
])("kernel with %s replaced by %s", (from, to, message) => {
  expect(kernel).toContain(from);
  verifyKernel(parseKernel(kernel));
  const text = kernel.replace(from, to);
  if (message === undefined) {
    verifyKernel(parseKernel(text));
    expect(printKernel(parseKernel(text))).toContain("store a[0, t] = s");
  } else expectViolation(() => verifyKernel(parseKernel(text)), message);
});

test.each([
  ["acc + to_f32(b)", "acc + to_f32(c + b)", '"c" is not declared here'],
  ["store y[t] = s", "array a: f32[T]", "an array is of f32 and of sizes that are numbers"],
  ["store y[t] = s", "array a: bf16[2]", "an array is of f32 and of sizes that are numbers"],
  ["variable n = 0", "variable n = a[0] parallel o < 2 { array a: f32[2] }", 'no buffer "a"'],
])("kernel with %s replaced by %s does not read", (from, to, message) => {
  expect(kernel).toContain(from);
  expect(() => parseKernel(kernel.replace(from, to))).toThrow(message);
});

test("an array is seen in its block only, and takes no more than the device gives", () => {
  const text = kernel.replace("variable n = 0", "if true { array a: f32[5] } variable n = 0");
  const inside = parseKernel(text);
  verifyKernel(inside);
  const outside: Kernel = {
    ...inside,
    body: [...inside.body, { kind: "store", buffer: "a", index: [integer(0)], value: literal(1) }],
  };
  expectViolation(() => verifyKernel(outside), 'there is no buffer "a": store a[0] = 1.0');
  expect(arrayBytesOf(inside)).toBe(20);
});

test("an axis is used with the extent it was declared with, and only in its loop", () => {
  const legal = parseKernel(kernel);
  const [loop, ...rest] = legal.body;
  if (loop?.kind !== "loop") throw new InternalError({ what: "not a loop" });
  const longer = { ...loop, range: { ...loop.range, extent: 8 } };
  expectViolation(
    () => verifyKernel({ ...legal, body: [longer, ...rest] }),
    'axis "t" is used with extent T, declared with 8',
  );
  expectViolation(
    () => verifyKernel({ ...legal, body: [...loop.body, ...rest] }),
    'axis "t" of i32 is not in scope',
  );
});

const program = `program p {
  size T in 1..8
  arena 64 bytes
  state w: f32[T]
  buffer $0: f32[T] at arena 0
  buffer $1: f32[T] at arena 32
  buffer $2: f32[T] at state w
  buffer $3: f32[1] = [2]
  buffer $4: f32[T, 1] at arena 32
  input x: f32[T] in $0
  output y: f32[T] in $1
  kernel copy {
    read x: f32[T]
    write y: f32[T]
    parallel t < T {
      store y[t] = x[t]
    }
  }
  step 0 ($0, $1) // first
  step 0 ($1, $2)
  step 0 ($2, $0)
}`;

test.each([
  [
    "buffer $1: f32[T] at arena 32",
    "buffer $1: f32[T] at arena 36",
    "ends at byte 68 of an arena of 64: buffer $1",
  ],
  [
    "buffer $1: f32[T] at arena 32",
    "buffer $1: f32[T] at arena 30",
    "the offset is not a multiple of 4",
  ],
  [
    "buffer $1: f32[T] at arena 32",
    "buffer $1: f32[T] at arena 28",
    "$1 is written over $0, which is read elsewhere",
  ],
  ["buffer $1: f32[T] at arena 32", "buffer $1: i32[T] at arena 32", 'output "y" is f32[T]'],
  ["at state w", "at state v", 'there is no state "v": buffer $2'],
  ["state w: f32[T]", "state w: bf16[T]", "the state is bf16[T]: buffer $2"],
  ["in $0", "in $2", 'input "x" is not in the arena'],
  ["in $1", "in $9", 'output "y" is in $9, which does not exist'],
  ["output y: f32[T] in $1", "output y: f32[T, 1] in $1", undefined],
  [
    "step 0 ($0, $1) // first",
    "step 1 ($0, $1) // first",
    "there is no kernel 1: step 1 ($0, $1) // first at p, first",
  ],
  ["step 0 ($0, $1)", "step 0 ($0)", "kernel copy binds 2 buffers, got 1"],
  ["step 0 ($0, $1)", "step 0 ($3, $1)", "kernel buffer x is f32[T], $3 is f32[1]"],
  ["write y: f32[T]", "write y: f32[T+1]", "kernel buffer y is f32[T+1], $1 is f32[T]"],
  ["step 0 ($2, $0)", "step 0 ($2, $1)", undefined],
  ["step 0 ($0, $1) // first", "", "$1 is read before it is written: step 0 ($1, $2)"],
  ["$3: f32[1] = [2]", "$3: f32[T] at arena 0\n", undefined],
  ["step 0 ($0, $1) // first", "step 0 ($0, $1) step 0 ($0, $0)", undefined],
])("program with %s replaced by %s", (from, to, message) => {
  expect(program).toContain(from);
  verifyProgram(parseProgram(program));
  const changed = parseProgram(program.replace(from, to));
  if (message === undefined) verifyProgram(changed);
  else expectViolation(() => verifyProgram(changed), message);
});

test("a buffer that overwrites a live one is found", () => {
  const clobbered = program
    .replace("arena 64 bytes", "arena 96 bytes")
    .replace("$3: f32[1] = [2]", "$3: f32[T] at arena 48")
    .replace("step 0 ($1, $2)", "step 0 ($2, $3) // second");
  expectViolation(
    () => verifyProgram(parseProgram(clobbered)),
    '$1 is read after second wrote $3 over it: output "y"',
  );
  const reused = program
    .replace("arena 64 bytes", "arena 96 bytes")
    .replace("$3: f32[1] = [2]", "$3: f32[T] at arena 16")
    .replace("step 0 ($2, $0)", "step 0 ($1, $0) step 0 ($2, $3)");
  expectViolation(() => verifyProgram(parseProgram(reused)), "wrote $3 over it");
  const inputs = program.replace(
    "input x: f32[T] in $0",
    "input x: f32[T] in $0 input z: f32[T] in $0",
  );
  expectViolation(() => verifyProgram(parseProgram(inputs)), 'inputs "x" and "z" share bytes');
});

test("a program stays within the capabilities it was planned for", () => {
  const capabilities = {
    dtypes: ["f32"],
    alignment: 16,
    maxBytes: 96,
    maxBuffersPerKernel: 2,
    arrayBytes: 64,
  } as const;
  const legal = parseProgram(program);
  verifyProgram(legal, capabilities);
  expectViolation(() => verifyProgram(legal, { ...capabilities, alignment: 64 }), "multiple of 64");
  expectViolation(
    () => verifyProgram(legal, { ...capabilities, maxBytes: 95 }),
    "the device has 95",
  );
  expectViolation(
    () => verifyProgram(legal, { ...capabilities, maxBlockBytes: 15 }),
    "in one piece, the device has at most 15",
  );
  expectViolation(() => verifyProgram(legal, { ...capabilities, dtypes: [] }), "does not store");
  expectViolation(
    () => verifyProgram(legal, { ...capabilities, maxBuffersPerKernel: 1 }),
    "2 buffers, the device binds 1 at most",
  );
  const withArray = parseProgram(program.replace("parallel", "array a: f32[17] parallel"));
  verifyProgram(withArray, { ...capabilities, arrayBytes: 68 });
  expectViolation(
    () => verifyProgram(withArray, capabilities),
    "kernel copy has arrays of 68 bytes, the device gives it 64",
  );
});
