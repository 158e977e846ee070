/**
 * Replaces a composite by the ops it is made of. In: an application of a composite. Out: its decomposition, under the same
 * scope path.
 */
import type { Rule } from "./rewrite.ts";

export const decompose: Rule = {
  name: "decompose",
  apply: ({ op, inputs, attrs }) =>
    op.body.class === "composite" ? op.body.decompose(inputs, attrs) : undefined,
};
