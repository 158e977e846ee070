/**
 * The part of TensorFlow.js that is used here, so that the bench compiles where the package is not installed. In: nothing.
 * Out: types. Tensors are disposed of by hand, or by `tidy`, which keeps what its function returns.
 */
export interface Tensor {
  readonly shape: readonly number[];
  dataSync(): Float32Array;
  dispose(): void;
}

export interface Variable extends Tensor {
  assign(value: Tensor): void;
}

type Nested = Tensor | readonly Tensor[] | Readonly<Record<string, Tensor>>;

export interface TensorFlow {
  setBackend(name: string): Promise<boolean>;
  ready(): Promise<void>;
  tensor(
    values: Float32Array | Int32Array,
    shape: readonly number[],
    dtype: "float32" | "int32",
  ): Tensor;
  variable(value: Tensor): Variable;
  scalar(value: number): Tensor;
  zeros(shape: readonly number[]): Tensor;
  tidy<R extends Nested>(body: () => R): R;
  dispose(tensors: Nested): void;
  matMul(a: Tensor, b: Tensor, transposeA?: boolean, transposeB?: boolean): Tensor;
  transpose(x: Tensor, order?: readonly number[]): Tensor;
  reshape(x: Tensor, shape: readonly number[]): Tensor;
  slice(x: Tensor, begin: readonly number[], size: readonly number[]): Tensor;
  concat(tensors: readonly Tensor[], axis: number): Tensor;
  oneHot(indices: Tensor, depth: number): Tensor;
  cast(x: Tensor, dtype: "float32"): Tensor;
  add(a: Tensor, b: Tensor | number): Tensor;
  sub(a: Tensor, b: Tensor | number): Tensor;
  mul(a: Tensor, b: Tensor | number): Tensor;
  div(a: Tensor | number, b: Tensor | number): Tensor;
  neg(x: Tensor): Tensor;
  minimum(a: Tensor, b: number): Tensor;
  square(x: Tensor): Tensor;
  sqrt(x: Tensor): Tensor;
  rsqrt(x: Tensor): Tensor;
  sigmoid(x: Tensor): Tensor;
  softmax(x: Tensor, axis?: number): Tensor;
  logSoftmax(x: Tensor, axis?: number): Tensor;
  sum(x: Tensor, axis?: number, keepDims?: boolean): Tensor;
  mean(x: Tensor, axis?: number, keepDims?: boolean): Tensor;
  grads(f: (...inputs: Tensor[]) => Tensor): (inputs: readonly Tensor[]) => Tensor[];
  valueAndGrads(f: (...inputs: Tensor[]) => Tensor): (inputs: readonly Tensor[]) => {
    readonly value: Tensor;
    readonly grads: Tensor[];
  };
}
