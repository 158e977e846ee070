// Profiles of runs made up by hand: their order, their trace and their table.
import { describe, expect, it } from "vitest";
import { buildProgram } from "../compile.ts";
import { declare } from "../declare/declare.ts";
import { exp } from "../declare/ops/elementwise.ts";
import { linear } from "../declare/ops/contract.ts";
import { dtypes } from "../dtype.ts";
import { hostTensor } from "../host-tensor.ts";
import { chromeTrace } from "./chrome-trace.ts";
import type { Backend, Executable } from "./backend.ts";
import type { RunProfile } from "./profile.ts";
import { profiledBackend, profileOf } from "./profile.ts";
import { rooflineTable } from "./roofline.ts";

const limits = { alignment: 16, maxBytes: 2 ** 20, maxBuffersPerKernel: 16, arrayBytes: 0 };
const capabilities = { dtypes, ...limits };
const { program } = buildProgram(
  declare("pair", (b) => {
    const x = b.input("x", "f32", [b.size("B", 1, 8), 10]);
    const y = b.scope("head", () => linear(x, b.parameter("w", "f32", [5, 10])));
    return { y, z: exp(b.input("v", "f32", [100])) };
  }),
  capabilities,
);
const product = program.steps.findIndex(({ label }) => label.includes("dot_general"));
const other = 1 - product;
const sizes = new Map([["B", 4]]);

/** Two threads share the product in 2 ms; one of them computes the rest in 1 ms after that. */
const run = (start: number): RunProfile =>
  profileOf(
    program,
    sizes,
    ["thread 0", "thread 1"],
    [
      { step: other, row: 1, start: start + 2, duration: 1 },
      { step: product, row: 1, start, duration: 2 },
      { step: product, row: 0, start, duration: 2 },
    ],
  );

it("a run lasts from its first event to its last one's end", () => {
  expect(program.steps.length).toBe(2);
  const { start, duration, events } = run(7);
  expect([start, duration]).toEqual([7, 3]);
  expect(events.map(({ step, row }) => [step, row])).toEqual([
    [product, 0],
    [product, 1],
    [other, 1],
  ]);
  expect(profileOf(program, sizes, ["queue"], []).duration).toBe(0);
});

interface TraceEvent {
  readonly name: string;
  readonly ph: string;
  readonly tid: number;
  readonly ts?: number;
  readonly dur?: number;
  readonly args: Readonly<Record<string, unknown>>;
}

it("a trace is JSON with a row for the runs and for each thread", () => {
  const { traceEvents } = JSON.parse(chromeTrace([run(7), run(20)])) as {
    traceEvents: readonly TraceEvent[];
  };
  const rows = traceEvents
    .filter(({ ph }) => ph === "M")
    .map(({ tid, args }) => [tid, args["name"]]);
  expect(rows).toEqual([
    [0, "runs"],
    [1, "thread 0"],
    [2, "thread 1"],
  ]);
  const spans = traceEvents.filter(({ ph }) => ph === "X");
  expect(spans.length).toBe(2 * (1 + 3));
  const shared = spans.find(({ tid }) => tid === 1)!;
  expect(shared).toMatchObject({ name: program.kernels[program.steps[product]!.kernel]!.name });
  expect([shared.ts, shared.dur]).toEqual([0, 2000]);
  expect(shared.args).toEqual({
    step: product,
    scope: "head (dot_general)",
    "GFLOP/s": 0,
    "GB/s": 0,
    shapes: ["read f32[4, 10]", "read f32[5, 10]", "write f32[4, 5]"],
  });
  expect(spans.at(-1)!.ts).toBe(15_000);
  expect(JSON.parse(chromeTrace([]))).toMatchObject({ traceEvents: [{ name: "thread_name" }] });
});

it("a trace tells rates, of a step's mean time", () => {
  const events = [1e-4, 3e-4].map((duration, row) => ({ step: product, row, start: 0, duration }));
  const profile = profileOf(program, sizes, ["thread 0", "thread 1"], events);
  const { traceEvents } = JSON.parse(chromeTrace([profile])) as {
    traceEvents: readonly TraceEvent[];
  };
  // 2 · 4 · 5 · 10 operations and 4 · (40 + 50 + 20) bytes in 0.2 microseconds.
  for (const { args } of traceEvents.slice(-2))
    expect([args["GFLOP/s"], args["GB/s"]]).toEqual([2, 2.2]);
});

describe("a table", () => {
  const lines = (text: string): readonly string[] => text.split("\n");

  it("adds up to the time of all threads, and tells the share of products", () => {
    const table = rooflineTable([run(0), run(10)]);
    const row = (name: string): string => lines(table).find((line) => line.startsWith(name))!;
    // Four of six thread-milliseconds a run, then one, then the one in which thread 0 waited.
    expect(row("dot_general")).toMatch(/ 2 +4\.00 +66\.7 % .*head \(dot_general\)$/);
    expect(row("exp")).toMatch(/ 2 +1\.00 +16\.7 % /);
    expect(row("between steps")).toMatch(/ 1\.00 +16\.7 %$/);
    expect(row("all")).toMatch(/ 6\.00 +100\.0 %$/);
    expect(table).toContain("66.7 % of the time in products\n");
    expect(table).not.toContain("roofline");
  });

  it("compares with ceilings: the slower one counts", () => {
    // The product: 400 operations at 4e5 a second take 1 ms, its 440 bytes at 1e6 less. The step took 2 ms.
    const table = rooflineTable([run(0)], { flops: 4e5, bytes: 1e6 });
    expect(lines(table).find((line) => line.startsWith("dot_general"))).toContain(" 50.0 % ");
    // The rest: 100 operations take 0.25 ms, its 800 bytes 0.8; one of two threads did it in 1 ms.
    expect(lines(table).find((line) => line.startsWith("exp"))).toContain("160.0 %");
    expect(table).toContain("ceilings of this machine: 0.000 GFLOP/s, 0.001 GB/s");
  });

  it("of nothing is empty, not broken", () => {
    expect(rooflineTable([])).toContain("0 % of the time in products\n");
  });
});

describe("a backend that measures", () => {
  const outputs = { y: hostTensor("f32", [], [1]) };
  const backendOf = (executable: Executable): Backend =>
    ({ name: "made up", capabilities, load: async () => executable }) as unknown as Backend;
  const plain: Executable = { program, bytes: 0, run: async () => outputs, dispose: () => {} };

  it("measures the runs that are wanted", async () => {
    const recorded: RunProfile[] = [];
    let asked = 0;
    const backend = profiledBackend(
      backendOf({ ...plain, profile: async () => ({ outputs, profile: run(0) }) }),
      { wants: () => ++asked === 2, record: (profile) => void recorded.push(profile) },
    );
    const executable = await backend.load(program, undefined as never);
    for (let i = 0; i < 3; i++) expect(await executable.run({})).toBe(outputs);
    expect(recorded.length).toBe(1);
  });

  it("says so where the backend cannot", async () => {
    const backend = profiledBackend(backendOf(plain), { wants: () => true, record: () => {} });
    const executable = await backend.load(program, undefined as never);
    await expect(executable.run({})).rejects.toThrow(
      /this backend cannot measure the steps of a run at pair\. Use the WebAssembly/,
    );
  });
});
