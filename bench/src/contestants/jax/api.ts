/**
 * The part of jax-js that is used here, so that the bench compiles where the package is not installed. In: nothing. Out:
 * types. Arrays are counted by reference; passing one on gives it away unless it is passed as `x.ref`.
 */
export interface JaxArray {
  readonly ref: JaxArray;
  readonly shape: number[];
  add(other: JaxArray | number): JaxArray;
  sub(other: JaxArray | number): JaxArray;
  mul(other: JaxArray | number): JaxArray;
  div(other: JaxArray | number): JaxArray;
  neg(): JaxArray;
  sum(axis?: number): JaxArray;
  reshape(shape: readonly number[]): JaxArray;
  transpose(order?: readonly number[]): JaxArray;
  slice(...ranges: readonly (readonly [] | readonly [number, number])[]): JaxArray;
  blockUntilReady(): Promise<JaxArray>;
  data(): Promise<Float32Array>;
  dispose(): void;
}

export interface JaxNumpy {
  array(
    values: Float32Array | Int32Array,
    options?: { readonly shape?: readonly number[] },
  ): JaxArray;
  matmul(a: JaxArray, b: JaxArray): JaxArray;
  einsum(subscripts: string, a: JaxArray, b: JaxArray): JaxArray;
  concatenate(arrays: readonly JaxArray[], axis: number): JaxArray;
  where(condition: JaxArray, a: JaxArray | number, b: JaxArray | number): JaxArray;
  tril(x: JaxArray): JaxArray;
  ones(shape: readonly number[]): JaxArray;
  greater(a: JaxArray, b: JaxArray | number): JaxArray;
  minimum(a: JaxArray | number, b: JaxArray | number): JaxArray;
  mean(x: JaxArray, axis?: number, options?: { readonly keepdims: boolean }): JaxArray;
  sqrt(x: JaxArray): JaxArray;
  sum(x: JaxArray, axis?: number): JaxArray;
}

export interface Jax {
  readonly numpy: JaxNumpy;
  readonly nn: {
    softmax(x: JaxArray, axis: number): JaxArray;
    logSoftmax(x: JaxArray, axis: number): JaxArray;
    silu(x: JaxArray): JaxArray;
    oneHot(x: JaxArray, classes: number): JaxArray;
  };
  init(device: string): Promise<unknown>;
  defaultDevice(device: string): unknown;
  jit<A extends readonly unknown[], R>(f: (...args: A) => R): (...args: A) => R;
  grad<A extends readonly unknown[]>(
    f: (...args: A) => JaxArray,
    options: { readonly argnums: readonly number[] },
  ): (...args: A) => JaxArray[];
  valueAndGrad<P, A extends readonly unknown[]>(
    f: (parameters: P, ...args: A) => JaxArray,
  ): (parameters: P, ...args: A) => [JaxArray, P];
}
