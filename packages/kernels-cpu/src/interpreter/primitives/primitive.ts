/**
 * What every primitive's evaluation takes and gives. In: attributes, input values and output types of this run. Out: one array
 * of elements per output. Floats are added up in doubles; whoever calls rounds each result once.
 */
import type { Attributes } from "@millrace/graph";
import type { ConcreteType, InterpreterValue } from "../value.ts";

export interface PrimitiveContext {
  readonly attrs: Attributes;
  readonly inputs: readonly InterpreterValue[];
  readonly outputs: readonly ConcreteType[];
  /** For errors. */
  readonly where: string;
}

export type Primitive = (context: PrimitiveContext) => readonly Float64Array[];
