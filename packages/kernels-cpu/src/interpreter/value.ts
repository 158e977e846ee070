/**
 * Values of the graph interpreter: doubles throughout, whatever the dtype. In: host tensors, or such values. Out: the other.
 * With `exact`, floats keep what a double holds; without, every value is one that its dtype can store.
 */
import type { DType, HostTensor } from "@millrace/graph";
import { elementCount, hostTensor } from "@millrace/graph";
import { storageRounding, storedElements } from "./elements.ts";

/** Row-major elements as doubles; bool as 0 and 1, i64 by its low word. */
export interface InterpreterValue {
  readonly dtype: DType;
  readonly shape: readonly number[];
  readonly data: Float64Array;
}

/** A type with the sizes of this run. */
export interface ConcreteType {
  readonly dtype: DType;
  readonly shape: readonly number[];
}

export function zeros({ dtype, shape }: ConcreteType): InterpreterValue {
  return { dtype, shape, data: new Float64Array(elementCount(shape)) };
}

/** Takes a value in; doubles that the dtype cannot store are rounded unless `exact`. */
export function toInterpreterValue(
  value: HostTensor | InterpreterValue,
  exact: boolean,
): InterpreterValue {
  const { dtype, shape, data } = value;
  if (data instanceof Float64Array) {
    const round = storageRounding(dtype, exact);
    return { dtype, shape, data: data.map(round) };
  }
  const { get } = storedElements(dtype, shape, data, "input");
  const wide = new Float64Array(data.length);
  for (let i = 0; i < wide.length; i++) wide[i] = get(i);
  return { dtype, shape, data: wide };
}

export function toHostTensor({ dtype, shape, data }: InterpreterValue): HostTensor {
  return hostTensor(dtype, shape, data);
}
