/**
 * Kernels that are written by hand, and programs of them. In: the parts of a statement. Out: the statement, by short names; a program of
 * one kernel. For tests only; it is not published.
 */
import type {
  DType,
  Expr,
  HostTensor,
  Kernel,
  KernelBuffer,
  Place,
  Program,
  Range,
  Shape,
  SizeSymbol,
  Statement,
} from "@millrace/graph";
import {
  axisExpr,
  byteWidth,
  elementCount,
  hostTensor,
  loadExpr,
  maxDim,
  symbolsOf,
} from "@millrace/graph";

type Access = KernelBuffer["access"];
export const buffer = (name: string, dtype: DType, shape: Shape, access: Access): KernelBuffer => ({
  name,
  dtype,
  shape,
  access,
});

export const i: Expr = axisExpr("i", 64);
export const j: Expr = axisExpr("j", 64);
export const k: Expr = axisExpr("k", 64);
export const at = (name: string, ...index: readonly Expr[]): Expr => loadExpr(name, index, "f32");
export const intAt = (name: string, ...index: readonly Expr[]): Expr =>
  loadExpr(name, index, "i32");
export const range = (axis: string, extent: Range["extent"], start?: Expr, end?: Expr): Range => ({
  axis,
  extent,
  ...(start && { start }),
  ...(end && { end }),
});
export const loop = (
  over: Range,
  body: readonly Statement[],
  order: "parallel" | "serial" = "parallel",
): Statement => ({ kind: "loop", range: over, order, body });
export const store = (name: string, index: readonly Expr[], value: Expr): Statement => ({
  kind: "store",
  buffer: name,
  index,
  value,
});

const align = (offset: number): number => Math.ceil(offset / 64) * 64;

/**
 * A program of one kernel: read buffers are inputs, the others outputs (an `update` is both), unless `places` says else. `inPlace` binds
 * a buffer to another one's place.
 */
export function programOf(
  kernel: Kernel,
  places: Readonly<Record<string, Place>> = {},
  inPlace: Readonly<Record<string, string>> = {},
): Program {
  let arenaBytes = 0;
  const buffers = kernel.buffers.map(({ name, dtype, shape }) => {
    const given = places[name];
    if (given) return { type: { dtype, shape }, place: given };
    const offset = arenaBytes;
    arenaBytes = align(offset + elementCount(shape.map(maxDim)) * byteWidth(dtype));
    return { type: { dtype, shape }, place: { kind: "arena", offset } as const };
  });
  const sizes = new Map<string, SizeSymbol>();
  for (const { shape } of kernel.buffers)
    for (const symbol of shape.flatMap(symbolsOf)) sizes.set(symbol.name, symbol);
  const indexOf = (wanted: string): number =>
    kernel.buffers.findIndex(({ name }) => name === (inPlace[wanted] ?? wanted));
  const bindings = (accesses: readonly Access[]): Program["inputs"] =>
    kernel.buffers.flatMap(({ name, dtype, shape, access }) =>
      accesses.includes(access) && !places[name]
        ? [{ name, type: { dtype, shape }, buffer: indexOf(name) }]
        : [],
    );
  return {
    name: `test ${kernel.name}`,
    sizes: [...sizes.values()],
    inputs: bindings(["read", "update"]),
    outputs: bindings(["write", "update"]),
    states: kernel.buffers.flatMap(({ name, dtype, shape }) =>
      places[name]?.kind === "state" ? [{ name, type: { dtype, shape } }] : [],
    ),
    buffers,
    kernels: [kernel],
    steps: [
      { kernel: 0, buffers: kernel.buffers.map(({ name }) => indexOf(name)), label: "layers.0" },
    ],
    arenaBytes,
  };
}

export const f32 = (shape: readonly number[], values: readonly number[]): HostTensor =>
  hostTensor("f32", shape, values);
export const i32 = (shape: readonly number[], values: readonly number[]): HostTensor =>
  hostTensor("i32", shape, values);
