// The laws of @millrace/conformance pass what is right and catch what is wrong. They are tested here because they need
// an oracle, and conformance imports none.
import type { OpCase, TestRunner } from "@millrace/conformance";
import {
  ConformanceError,
  checkGradient,
  checkKernel,
  checkOp,
  describeBackend,
  exact,
  sizeArbitrary,
  smoothInputs,
  tensorArbitrary,
} from "@millrace/conformance";
import type { Backend, Expr, OpDefinition, Program, Statement, Tensor } from "@millrace/graph";
import {
  applyExpr,
  applyOne,
  defineOp,
  expectInputs,
  hostTensor,
  literalExpr,
  mapExpr,
  mul,
  parseKernel,
  sigmoid,
  sin,
  softmax,
  sub,
  toNumbers,
  topK,
} from "@millrace/graph";
import fc from "fast-check";
import { expect, test, vi } from "vitest";

import { createInterpreterBackend } from "./backend.ts";
import { interpret } from "./interpret.ts";

type NoAttributes = Record<string, never>;

const backend = createInterpreterBackend();
const oracles = { interpret, backend, numRuns: 25 };

/** `x * x`, with the body and derivative of the caller's choice. */
function square(
  scalar: (x: Expr) => Expr,
  vjp: (x: Tensor, ct: Tensor) => Tensor,
): OpDefinition<NoAttributes> {
  return defineOp({
    name: "test.square",
    infer: (inputs) => {
      expectInputs(inputs, 1);
      return [inputs[0]!];
    },
    vjp: ({ inputs: [x], cotangents: [ct] }) => [ct && vjp(x!, ct)],
    body: { class: "elementwise", scalar: ([x]) => scalar(x!) },
  });
}

const twice = (x: Tensor, ct: Tensor): Tensor => mul(ct, mul(x, 2));
const right = square((x) => applyExpr("mul", x, x), twice);

const vectors: fc.Arbitrary<OpCase<NoAttributes>> = sizeArbitrary()
  .chain((length) => tensorArbitrary("f32", [length]))
  .map((x) => ({ inputs: [x], attrs: {}, tolerances: [exact] }));

const squares = ({ inputs: [x] }: OpCase<NoAttributes>) => [
  hostTensor(
    "f32",
    x!.shape,
    toNumbers(x!).map((value) => value * value),
  ),
];

const failureOf = (check: Promise<void>): Promise<Error | undefined> =>
  check.then(
    () => undefined,
    (error: unknown) => error as Error,
  );

test("a right op obeys all laws, with fixed and symbolic sizes", async () => {
  await checkOp(right, vectors, { ...oracles, symbolic: [[0, 0]], expected: squares });
});

test("an op that computes something else is caught, and the case can be run again", async () => {
  const wrong = square((x) => applyExpr("mul", x, applyExpr("max", x, literalExpr(-1e6))), twice);
  const reported = { expected: squares, seed: 5, numRuns: 200 };
  const failure = await failureOf(checkOp(wrong, vectors, { ...oracles, ...reported }));
  expect(failure?.message).toContain("seed: 5");
  expect(failure?.message).toContain("= test.square(%0)");
  expect(failure?.cause).toBeInstanceOf(ConformanceError);
  expect(String(failure?.cause)).toMatch(
    /the definition of test\.square.* of .* elements .* differ/,
  );
});

test("an op whose body has another type than it infers is caught", async () => {
  const wrong = square((x) => applyExpr("to_i32", x), twice);
  const failure = await failureOf(checkOp(wrong, vectors, oracles));
  expect(String(failure?.cause)).toContain("to_i32(b1[i0]) is i32, expected f32");
});

test("an op that decomposes to another shape than it infers is caught", async () => {
  const wrong = defineOp<NoAttributes>({
    name: "test.best",
    infer: (inputs) => [inputs[0]!],
    body: { class: "composite", decompose: ([x]) => [topK(x!, 1)[0]] },
  });
  const cases = tensorArbitrary("f32", [4]).map((x) => ({ inputs: [x], attrs: {} }));
  const failure = await failureOf(checkOp(wrong, cases, oracles));
  expect(String(failure?.cause)).toContain("decomposition is f32[1], declared f32[4]");
});

const options = { interpret, numRuns: 20 };

test("right derivatives agree with differences", async () => {
  const types = [{ dtype: "f32", shape: [3, 5] }] as const;
  await checkGradient(([x]) => applyOne(right, [x!], {}), smoothInputs(types), options);
  await checkGradient(([x]) => [softmax(x!), sigmoid(x!)], smoothInputs(types), options);
});

test.each([
  ["of the wrong size", (x: Tensor, ct: Tensor) => mul(ct, mul(x, 2.001))],
  ["of the wrong sign", (x: Tensor, ct: Tensor) => mul(ct, mul(x, -2))],
  ["without the cotangent", (x: Tensor) => mul(x, 2)],
])("a derivative %s is caught", async (_, vjp) => {
  const wrong = square((x) => applyExpr("mul", x, x), vjp);
  const check = checkGradient(
    ([x]) => mul(sub(applyOne(wrong, [x!], {}), 1), 3),
    smoothInputs([{ dtype: "f32", shape: [7] }]),
    options,
  );
  await expect(check).rejects.toThrow(/Property failed/);
});

test("a function rougher than the steps is inconclusive, not right", async () => {
  const check = checkGradient(
    ([x]) => sin(mul(x!, 1e4)),
    smoothInputs([{ dtype: "f32", shape: [2] }]),
    // At an unlucky point two differences of such a function agree by chance.
    { interpret, numRuns: 3, seed: 1 },
  );
  await expect(check).rejects.toThrow("has a kink");
});

/** The interpreter, running another program than it was given. */
function brokenBackend(broken: (program: Program) => Program): Backend {
  return {
    ...backend,
    name: "broken",
    load: (program, store) => backend.load(broken(program), store),
  };
}

/** Every expression of every kernel replaced. */
function withExpressions(program: Program, change: (expr: Expr) => Expr | undefined): Program {
  const changeAll = (value: unknown): unknown => {
    if (Array.isArray(value)) return value.map(changeAll);
    if (typeof value !== "object" || value === null) return value;
    if ("kind" in value && value.kind === "store") {
      const store = value as Statement & { kind: "store" };
      return { ...store, value: mapExpr(store.value, change) };
    }
    return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, changeAll(item)]));
  };
  const kernels = program.kernels.map(
    (kernel) => ({ ...kernel, body: changeAll(kernel.body) }) as (typeof program.kernels)[number],
  );
  return { ...program, kernels };
}

const slipped = (program: Program): Program =>
  withExpressions(program, (expr) =>
    expr.kind === "apply" && expr.op === "lt" ? { ...expr, op: "le" } : undefined,
  );

const doubling = parseKernel(`kernel double {
  size T in 0..129
  read x: bf16[T]
  write y: bf16[T]
  update z: i32[3]
  parallel t < T {
    store y[t] = round_bf16(x[t] * 2.0)
  }
  parallel i < 3 {
    store z[i] = select(i < 2, z[i] + i, 7)
  }
}`);

const contents = sizeArbitrary().chain((length) =>
  fc
    .tuple(
      tensorArbitrary("bf16", [length]),
      tensorArbitrary("bf16", [length]),
      tensorArbitrary("i32", [3], ["integers"]),
    )
    .map(([x, y, z]) => ({ buffers: { x, y, z } })),
);

test("two backends agree in a kernel, unless one is broken", async () => {
  const reference = createInterpreterBackend({ parallelOrder: "descending" });
  await checkKernel(doubling, contents, { backend, reference, numRuns: 20 });
  const broken = checkKernel(doubling, contents, { backend: brokenBackend(slipped), reference });
  await expect(broken).rejects.toThrow(/Property failed/);
});

// Some tests run all of the suite, maybe on a machine that has other things to do.
vi.setConfig({ testTimeout: 240_000 });

/** Runs the suite on a backend and gives the names of the tests that failed. */
async function failures(broken: Backend): Promise<readonly string[]> {
  const path: string[] = [];
  const tests: { readonly name: string; readonly body: () => Promise<void> }[] = [];
  const runner: TestRunner = {
    describe: (name, body) => {
      path.push(name);
      body();
      path.pop();
    },
    test: (name, body) => tests.push({ name: [...path, name].join(" > "), body }),
  };
  describeBackend("broken", () => broken, {
    ...runner,
    interpret,
    reference: backend,
    numRuns: 2,
    seed: 1,
  });
  const failed: string[] = [];
  for (const { name, body } of tests)
    await body().catch((error: unknown) =>
      failed.push(`${name}: ${String((error as Error).cause ?? error)}`),
    );
  return failed;
}

test("a backend that confuses < and <= fails the suite, which says where to look", async () => {
  const failed = await failures(brokenBackend(slipped));
  expect(failed.join("\n")).toContain("broken conforms > elementwise > ops of f32");
  expect(failed.join("\n")).toContain("interpreter is right, so look at how this backend runs");
});

test("a backend that forgets state, takes more than planned and runs after dispose fails the suite", async () => {
  const forgetful: Backend = {
    ...backend,
    name: "forgetful",
    load: async (program, store) => {
      const executable = await backend.load(program, store);
      return {
        ...executable,
        program,
        bytes: program.arenaBytes + 16,
        dispose: () => {},
        run: async (inputs, sizes) => {
          const kept = await Promise.all(store.specs.map(({ name }) => store.read(name)));
          const outputs = await executable.run(inputs, sizes);
          for (const [i, { name }] of store.specs.entries()) await store.write(name, kept[i]!);
          return outputs;
        },
      };
    },
  };
  const failed = (await failures(forgetful)).join("\n");
  expect(failed).toContain("state > starts at zero and lasts from run to run");
  expect(failed).toContain("bytes, planned were");
  expect(failed).toContain("a run after dispose is accepted");
});

test("a backend whose rounding slips by one step in one dtype fails the suite", async () => {
  const truncating = brokenBackend((program) =>
    withExpressions(program, (expr) =>
      expr.kind === "round" && expr.dtype === "bf16"
        ? applyExpr(
            "bitcast_f32",
            applyExpr("and", applyExpr("bitcast_u32", expr.value), literalExpr(0xffff0000, "u32")),
          )
        : undefined,
    ),
  );
  const failed = (await failures(truncating)).join("\n");
  expect(failed).toContain("elementwise > ops of bf16");
  expect(failed).not.toContain("elementwise > ops of i32");
});

test("the suite passes a backend that is right", async () => {
  expect(await failures(backend)).toEqual([]);
});
