/**
 * Checks what a caller hands to a run. In: a program, input values and sizes. Out: the value of every size symbol, or an
 * InputError that names the input. Shared by all backends, so they refuse the same things in the same words.
 */
import { InputError } from "../errors.ts";
import { dataProblem } from "../host-tensor.ts";
import type { Program } from "../program.ts";
import { evaluateDim, formatShape, formatType, symbolsOf } from "../shape.ts";
import type { Dim } from "../shape.ts";
import type { Values } from "./backend.ts";

/** Sizes of this run, from `sizes` and from the inputs' shapes; every input can be copied as it is. */
export function bindSizes(
  program: Program,
  inputs: Values,
  sizes: Readonly<Record<string, number>> = {},
): Map<string, number> {
  const bound = bindShapes(program, inputs, sizes);
  for (const { name } of program.inputs) {
    const problem = dataProblem(inputs[name]!);
    if (problem !== undefined)
      throw new InputError({
        what: `input "${name}" of ${problem}`,
        where: program.name,
        hint: "Make it with hostTensor, or give it the array that its dtype is stored in.",
      });
  }
  return bound;
}

/** The same for values in another form than that of storage. */
export function bindShapes(
  program: Program,
  inputs: Values,
  sizes: Readonly<Record<string, number>> = {},
): Map<string, number> {
  const bound = new Map<string, number>(Object.entries(sizes));
  for (const name of Object.keys(inputs))
    if (!program.inputs.some((input) => input.name === name))
      throw new InputError({
        what: `there is no input "${name}"`,
        where: program.name,
        hint: `Its inputs are: ${program.inputs.map((input) => input.name).join(", ") || "none"}.`,
      });
  for (const name of Object.keys(sizes))
    if (!program.sizes.some((symbol) => symbol.name === name))
      throw new InputError({
        what: `there is no size "${name}"`,
        where: program.name,
        hint: `Its sizes are: ${program.sizes.map((symbol) => symbol.name).join(", ") || "none"}.`,
      });
  for (const { name, type } of program.inputs) {
    const value = inputs[name];
    if (!value)
      throw new InputError({
        what: `input "${name}" of type ${formatType(type)} is missing`,
        where: program.name,
        hint: "Pass a value for it.",
      });
    if (value.dtype !== type.dtype || value.shape.length !== type.shape.length)
      throw new InputError({
        what: `input "${name}" is ${value.dtype}[${value.shape.join(", ")}], expected ${formatType(type)}`,
        where: program.name,
        hint: "Convert or reshape it.",
      });
    type.shape.forEach((dim, i) => bindDim(program, name, dim, value.shape[i]!, bound));
  }
  for (const symbol of program.sizes) {
    const value = bound.get(symbol.name);
    if (value === undefined)
      throw new InputError({
        what: `size "${symbol.name}" is not determined by any input`,
        where: program.name,
        hint: `Pass it as run(inputs, { ${symbol.name}: … }).`,
      });
    if (!Number.isInteger(value) || value < symbol.min || value > symbol.max)
      throw new InputError({
        what: `size "${symbol.name}" is ${value}, its bounds are ${symbol.min} to ${symbol.max}`,
        where: program.name,
        hint: "Compile with wider bounds, or pass less at once.",
      });
  }
  for (const { name, type } of program.inputs) {
    const shape = type.shape.map((dim) => evaluateDim(dim, bound));
    const given = inputs[name]!.shape;
    if (shape.some((size, i) => size !== given[i]))
      throw new InputError({
        what: `input "${name}" has shape [${given.join(", ")}], expected ${formatShape(type.shape)} = [${shape.join(", ")}]`,
        where: program.name,
        hint: "Inputs that share a size must agree in it.",
      });
    checkIntegers(program, name, inputs[name]!.data);
  }
  return bound;
}

/** Solves `dim = size` where dim is a multiple of one symbol plus a constant; other forms are checked later. */
function bindDim(
  program: Program,
  input: string,
  dim: Dim,
  actual: number,
  bound: Map<string, number>,
): void {
  const symbols = symbolsOf(dim);
  const symbol = symbols[0];
  if (symbols.length !== 1 || !symbol || bound.has(symbol.name)) return;
  const at = (value: number): number => evaluateDim(dim, new Map([[symbol.name, value]]));
  const slope = at(1) - at(0);
  if (at(2) - at(1) !== slope) return;
  const value = (actual - at(0)) / slope;
  if (!Number.isInteger(value))
    throw new InputError({
      what: `input "${input}" has a dimension of ${actual}, which no ${symbol.name} makes`,
      where: program.name,
      hint: "Pass a shape that the declared type allows.",
    });
  bound.set(symbol.name, value);
}

/** 64-bit integers exist at a program's edges only; inside they are 32 bits wide. */
function checkIntegers(program: Program, name: string, data: ArrayLike<number | bigint>): void {
  if (!(data instanceof BigInt64Array)) return;
  for (const value of data)
    if (BigInt.asIntN(32, value) !== value)
      throw new InputError({
        what: `input "${name}" holds ${value}, which 32 bits cannot hold`,
        where: program.name,
        hint: "Programs compute integers in 32 bits; pass smaller values.",
      });
}
