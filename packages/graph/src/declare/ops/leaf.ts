/**
 * The values that no op computes. In: a name or elements. Out: a node without inputs. Their types are given, not inferred.
 */
import { InternalError } from "../../errors.ts";
import type { OpDefinition } from "../../op.ts";

const given = (): never => {
  throw new InternalError({ what: "the type of a leaf is given, not inferred" });
};

/** A value passed to each run; attribute `name`. */
export const inputOp: OpDefinition<{ name: string }> = {
  name: "input",
  infer: given,
  body: { class: "leaf" },
};

/** The value a state holds before the run; attribute `name`. */
export const stateOp: OpDefinition<{ name: string }> = {
  name: "state",
  infer: given,
  body: { class: "leaf" },
};

/** Elements known when the graph is declared, in the node's `value`. */
export const constantOp: OpDefinition = {
  name: "constant",
  infer: given,
  body: { class: "leaf" },
};
