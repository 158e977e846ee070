/**
 * Single pieces of FP8 arithmetic: tables, encoder, quantisation, block-scaled products, dequantised weights and linear layers
 * alone. In: a case with such tensors. Out: the same, each computed by graph ops on the device.
 */
import {
  blockDequantize,
  convert,
  declare,
  type DType,
  elementCount,
  type Graph,
  type HostTensor,
  quantizeBlocks,
  quantizeTiles,
  scaledDot,
  scaledLinear,
  type Tensor,
  UnsupportedError,
} from "@millrace/graph";
import { dequantizeBlocks } from "@millrace/model-v3";

import { type Case, codesOf, modelOf, numbersOf, runOnce } from "./case.ts";
import type { Computed, Numbers } from "./compare.ts";

const numerics =
  /^((e4m3fn|e5m2)\.decode|encode\.codes|act_quant(_ue8m0)?\.(codes|scales)|gemm\.weight_(codes|scale_inv)|gemm(_ue8m0)?\.output)$/;

export const isNumericsName = (name: string): boolean => numerics.test(name);

type Inputs = Record<string, HostTensor>;

/** A graph over inputs of the values' own types. */
function graphOver(
  inputs: Inputs,
  body: (tensors: Readonly<Record<string, Tensor>>) => Record<string, Tensor>,
): Graph {
  return declare("fp8", (b) =>
    body(
      Object.fromEntries(
        Object.entries(inputs).map(([name, { dtype, shape }]) => [
          name,
          b.input(name, dtype, shape),
        ]),
      ),
    ),
  );
}

/** U8 codes of a file as values of a narrow float. */
function asFloats({ shape, data }: HostTensor, dtype: DType): HostTensor {
  return { dtype, shape, data };
}

/** Everything of `names` that follows from the given inputs. */
export async function computeNumerics(from: Case, names: readonly string[]): Promise<Computed> {
  const { expected } = from;
  const has = (name: string): boolean => expected.entries.has(name);
  const computed = new Map<string, Numbers[]>();
  for (const dtype of ["e4m3fn", "e5m2"] as const)
    if (names.includes(`${dtype}.decode`))
      computed.set(`${dtype}.decode`, [await decodeAll(from, dtype)]);
  if (has("encode.input")) {
    const inputs = { x: await expected.read("encode.input") };
    const graph = graphOver(inputs, ({ x }) => ({ codes: convert(x!, "e4m3fn") }));
    computed.set("encode.codes", [codesOf((await runOnce(from, graph, inputs))["codes"]!)]);
  }
  if (has("act_quant.input")) await addQuantization(from, computed);
  return computed;
}

async function decodeAll(from: Case, dtype: "e4m3fn" | "e5m2"): Promise<Numbers> {
  const inputs: Inputs = {
    codes: { dtype, shape: [256], data: Uint8Array.from(Array(256).keys()) },
  };
  const graph = graphOver(inputs, ({ codes }) => ({ values: convert(codes!, "f32") }));
  return numbersOf((await runOnce(from, graph, inputs))["values"]!);
}

/** Activations quantised both ways, the weight quantised, and their products. */
async function addQuantization(from: Case, computed: Map<string, Numbers[]>): Promise<void> {
  const { expected } = from;
  const inputs: Inputs = { x: await expected.read("act_quant.input") };
  const [master, codes, scales] = ["weight_f32", "weight_codes", "weight_scale_inv"].map((part) =>
    expected.entries.has(`gemm.${part}`) ? `gemm.${part}` : undefined,
  );
  if (master) inputs["master"] = await expected.read(master);
  if (codes && scales) {
    inputs["codes"] = asFloats(await expected.read(codes), "e4m3fn");
    inputs["scales"] = await expected.read(scales);
  }
  const graph = graphOver(inputs, (given) => {
    const outputs: Record<string, Tensor> = {};
    for (const [suffix, ue8m0] of [["", false] as const, ["_ue8m0", true] as const]) {
      const quantized = quantizeTiles(given["x"]!, 128, { ue8m0 });
      outputs[`act_quant${suffix}.codes`] = quantized.codes;
      outputs[`act_quant${suffix}.scales`] = quantized.scales;
      if (given["codes"] && given["scales"])
        outputs[`gemm${suffix}.output`] = scaledDot(
          quantized.codes,
          quantized.scales,
          given["codes"],
          given["scales"],
        );
    }
    if (given["master"]) {
      const quantized = quantizeBlocks(given["master"]);
      outputs["gemm.weight_codes"] = quantized.codes;
      outputs["gemm.weight_scale_inv"] = quantized.scales;
    }
    return outputs;
  });
  for (const [name, value] of Object.entries(await runOnce(from, graph, inputs)))
    computed.set(name, [value.dtype === "e4m3fn" ? codesOf(value) : numbersOf(value)]);
}

/** Codes and block scales of a stored weight. */
async function storedWeight(
  from: Case,
  name: string,
): Promise<{ readonly codes: HostTensor; readonly scales: HostTensor }> {
  const { weights } = modelOf(from);
  return { codes: await weights.read(name), scales: await weights.read(`${name}_scale_inv`) };
}

const blockOf = (from: Case): readonly [number, number] =>
  modelOf(from).config.quantizationConfig?.weightBlockSize ?? [128, 128];

/** `dequant.<name>`: a stored weight as f32, on the device and by the loader. */
export async function computeDequantized(from: Case, names: readonly string[]): Promise<Computed> {
  const block = blockOf(from);
  const computed = new Map<string, Numbers[]>();
  for (const name of names) {
    const { codes, scales } = await storedWeight(from, name.slice("dequant.".length));
    const inputs = { codes, scales };
    const graph = graphOver(inputs, (given) => ({
      weight: blockDequantize({ codes: given["codes"]!, scales: given["scales"]! }, block),
    }));
    const onDevice = await runOnce(from, graph, inputs);
    const loaded = dequantizeBlocks(codes, scales, block);
    computed.set(name, [numbersOf(onDevice["weight"]!), numbersOf(loaded)]);
  }
  return computed;
}

/** `fp8_linear.<name>.output`: one layer over the given input, activations quantised too. */
export async function computeFp8Linears(from: Case, names: readonly string[]): Promise<Computed> {
  const block = blockOf(from);
  if (block.some((side) => side !== 128))
    throw new UnsupportedError({
      what: `weights are stored in blocks of ${block.join(" x ")}`,
      where: from.directory,
      hint: "FP8 products take blocks of 128 x 128.",
    });
  const computed = new Map<string, Numbers[]>();
  for (const name of names) {
    const prefix = name.slice(0, -".output".length);
    const given = await from.expected.read(`${prefix}.input`);
    const width = given.shape.at(-1) ?? 1;
    const x = { ...given, shape: [elementCount(given.shape) / width, width] };
    const inputs = { x, ...(await storedWeight(from, prefix.slice("fp8_linear.".length))) };
    const graph = graphOver(inputs, (tensors) => ({
      y: scaledLinear(tensors["x"]!, tensors["codes"]!, tensors["scales"]!),
    }));
    computed.set(name, [numbersOf((await runOnce(from, graph, inputs))["y"]!)]);
  }
  return computed;
}
