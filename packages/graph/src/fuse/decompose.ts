/**
 * Replaces a composite by the ops it is made of. In: an application of a composite. Out: its decomposition, under the same
 * scope path; nothing for those that are kept whole.
 */
import type { Application, Rule } from "./rewrite.ts";

export const decompose = (keeps: (application: Application) => boolean): Rule => ({
  name: "decompose",
  apply: (application) => {
    const { op, inputs, attrs } = application;
    if (op.body.class !== "composite" || keeps(application)) return undefined;
    return op.body.decompose(inputs, attrs);
  },
});
