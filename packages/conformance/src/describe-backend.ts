/**
 * The suite that every backend passes. In: a name, how to make the backend, the oracles and a test runner's functions. Out: registered
 * tests. One line in a backend's test file:
 *
 *     describeBackend("wasm", createWasmBackend, { interpret, describe, test, reference: createInterpreterBackend() });
 *
 * Knows no test runner: whatever has `describe(name, body)` and `test(name, body)` will do.
 */
import type { Backend, DType } from "@millrace/graph";
import type { Interpret } from "./check-graph.ts";
import { describeAttention } from "./suite/attention.ts";
import { describeElementwise } from "./suite/elementwise.ts";
import { describeErrors } from "./suite/errors.ts";
import { describeLayers } from "./suite/layers.ts";
import { describeProducts } from "./suite/products.ts";
import { describeRandomGraphs } from "./suite/random-graphs.ts";
import { describeState } from "./suite/state.ts";

/** The two functions that every test runner has. */
export interface TestRunner {
  readonly describe: (name: string, body: () => void) => void;
  readonly test: (name: string, body: () => Promise<void>, timeoutMs?: number) => void;
}

export interface DescribeBackendOptions extends TestRunner {
  /** The graph interpreter. */
  readonly interpret: Interpret;
  /** A backend that is believed, to say whether a failure comes from the kernels or from how they are run. */
  readonly reference?: Backend;
  /** By default those the backend says it has. */
  readonly dtypes?: readonly DType[];
  /** Random cases per property, 30 by default; more for a thorough run. */
  readonly numRuns?: number;
  /** Seed of the random cases; by default another one each time, which a failure reports. */
  readonly seed?: number;
}

/** What the parts of the suite get. */
export interface SuiteContext extends TestRunner {
  readonly interpret: Interpret;
  readonly backend: () => Promise<Backend>;
  readonly reference?: Backend;
  readonly hasDTypes: (...dtypes: readonly DType[]) => boolean;
  readonly dtypes: readonly DType[];
  readonly numRuns: number;
  readonly seed?: number;
  /** Most milliseconds of one test. */
  readonly timeout: number;
}

/** Dtypes that every backend has. */
const required: readonly DType[] = ["f32", "i32", "u32", "bool"];

/** Registers the suite for one backend. */
export function describeBackend(
  name: string,
  createBackend: () => Backend | Promise<Backend>,
  options: DescribeBackendOptions,
): void {
  const { describe, test, interpret, reference, seed, numRuns = 30 } = options;
  const dtypes = options.dtypes ?? [
    ...required,
    "bf16",
    "f16",
    "e4m3fn",
    "e5m2",
    "i16",
    "i8",
    "u8",
    "i64",
  ];
  let made: Promise<Backend> | undefined;
  const context: SuiteContext = {
    describe,
    test,
    interpret,
    backend: () => (made ??= Promise.resolve(createBackend())),
    ...(reference && { reference }),
    hasDTypes: (...wanted) => wanted.every((dtype) => dtypes.includes(dtype)),
    dtypes,
    numRuns,
    ...(seed !== undefined && { seed }),
    timeout: 120_000,
  };
  describe(`${name} conforms`, () => {
    describeElementwise(context);
    describeProducts(context);
    describeLayers(context);
    describeAttention(context);
    describeState(context);
    describeErrors(context);
    describeRandomGraphs(context);
  });
}
