/**
 * Random graphs: each kind of op on its own, then everything mixed, in all dtypes, fused and unfused.
 */
import fc from "fast-check";
import { graphArbitrary, recipes } from "../arbitraries/graph.ts";
import { checkGraph } from "../check-graph.ts";
import { runParameters } from "../check-op.ts";
import type { SuiteContext } from "../describe-backend.ts";

export function describeRandomGraphs(context: SuiteContext): void {
  const { describe, test, interpret, reference, dtypes, numRuns, seed, timeout } = context;
  const check = async (only: readonly string[], maxNodes: number, runs: number): Promise<void> => {
    const backend = await context.backend();
    const oracles = { interpret, backend, ...(reference && { reference }) };
    await fc.assert(
      fc.asyncProperty(graphArbitrary({ dtypes, only, maxNodes }), (graphCase) =>
        checkGraph(graphCase, oracles),
      ),
      runParameters({ numRuns: runs, ...(seed !== undefined && { seed }) }),
    );
  };
  describe("random graphs", () => {
    // Comparisons and conversions beside the op itself make the bools and integers that some ops need.
    const feeders = ["convert", "lt", "reshape"];
    for (const name of Object.keys(recipes))
      test(`of ${name}`, () => check([name, name, ...feeders], 6, Math.ceil(numRuns / 2)), timeout);
    test("of everything", () => check(Object.keys(recipes), 24, 4 * numRuns), timeout);
  });
}
