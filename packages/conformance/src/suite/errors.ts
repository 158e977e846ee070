/**
 * What a backend refuses, and that it does so in words: wrong inputs reject the promise of the run they were given to, and the
 * next run is not the worse for it.
 */
import type { Values } from "@millrace/graph";
import { compile, declare, hostTensor, mul } from "@millrace/graph";
import { seededTensor } from "../arbitraries/tensor.ts";
import type { SuiteContext } from "../describe-backend.ts";
import { expectSameValues } from "../report.ts";
import { expectRefused } from "./state.ts";

const wrong: readonly (readonly [what: string, inputs: Values, sizes?: Record<string, number>])[] =
  [
    ["a missing input", {}],
    ["an unknown input", { x: seededTensor("f32", [3, 2], 1), y: seededTensor("f32", [1], 1) }],
    ["another dtype", { x: seededTensor("i32", [3, 2], 1) }],
    ["another rank", { x: seededTensor("f32", [3, 2, 1], 1) }],
    ["another fixed size", { x: seededTensor("f32", [3, 4], 1) }],
    ["a size above its bound", { x: seededTensor("f32", [9, 2], 1) }],
    ["a size below its bound", { x: seededTensor("f32", [1, 2], 1) }],
    ["a size that is not the input's", { x: seededTensor("f32", [3, 2], 1) }, { T: 4 }],
  ];

export function describeErrors(context: SuiteContext): void {
  const { describe, test, timeout, interpret } = context;
  describe("errors", () => {
    const graph = declare("double", (b) => ({
      y: mul(b.input("x", "f32", [b.size("T", 2, 8), 2]), 2),
    }));
    for (const [what, inputs, sizes] of wrong)
      test(
        `${what} is refused`,
        async () => {
          const program = await compile(graph, await context.backend());
          await expectRefused(what, ["input"], () => program.run(inputs, sizes));
          const right = { x: hostTensor("f32", [2, 2], [1, 2, 3, 4]) };
          const { outputs } = interpret(graph, right);
          expectSameValues(await program.run(right), outputs, { what: "the run after it" });
          program.dispose();
          program.store.dispose();
        },
        timeout,
      );
    test(
      "a program that was disposed of does not run",
      async () => {
        const program = await compile(graph, await context.backend());
        program.dispose();
        await expectRefused("a run after dispose", ["input", "device"], () =>
          program.run({ x: hostTensor("f32", [2, 2], [1, 2, 3, 4]) }),
        );
        program.store.dispose();
      },
      timeout,
    );
  });
}
