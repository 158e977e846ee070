/**
 * Checkpoint tensors to parameters. In: a TensorSource and a ModelConfig. Out: first a report of missing,
 * extra and misshapen tensors, then the parameters one at a time, experts stacked, FP8 weights times their
 * block scales, so that no more than one parameter is in memory. Order is that of `parameterTable`.
 */
import { CheckpointError, decodeFloats, elementCount, hostArray, isFloat } from "@millrace/graph";
import type { DType, HostTensor } from "@millrace/graph";
import type { ModelConfig } from "../config.ts";
import { blockOf } from "../weight-formats.ts";
import type { ParameterSpec } from "../parameters.ts";
import {
  checkpointNames,
  checkpointShape,
  parameterAliases,
  parameterTable,
} from "../parameters.ts";
import { dequantizeBlocks, scaleShape } from "./dequantize.ts";
import type { StoredDType, TensorSource } from "./tensor-source.ts";

/** A tensor that is there, but not as the configuration wants it. */
export interface Misfit {
  readonly name: string;
  readonly got: string;
  readonly expected: string;
}

/** What a checkpoint has and lacks, measured by a configuration. */
export interface LoadReport {
  readonly missing: readonly string[];
  /** Tensors that no parameter takes; harmless, but often a sign of the wrong configuration. */
  readonly extra: readonly string[];
  /** Wrong shape, or a dtype that is no float. */
  readonly misshapen: readonly Misfit[];
  /** Copies of embedding and head whose bytes differ from the original's. */
  readonly unequal: readonly string[];
}

const floatDTypes: readonly StoredDType[] = ["F64", "F32", "F16", "BF16", "F8_E4M3", "F8_E5M2"];

function isFp8(dtype: StoredDType): boolean {
  return dtype === "F8_E4M3" || dtype === "F8_E5M2";
}

/** The block scales of an FP8 weight. */
export function scaleName(weight: string): string {
  return `${weight}_scale_inv`;
}

/** More tensors missing than any report of them is good for. */
const maxMissing = 100_000;

/** What a configuration claims costs memory here, a name per tensor; the largest published model has 92,000. */
function checkCount(
  source: TensorSource,
  config: ModelConfig,
  table: readonly ParameterSpec[],
): void {
  const needed = table.reduce((sum, { experts }) => sum + Math.max(1, experts), 0);
  if (needed <= source.entries.size + maxMissing) return;
  throw new CheckpointError({
    what: `the weights are ${source.entries.size} tensors, but ${config.numHiddenLayers} layers of ${config.nRoutedExperts} experts take ${needed}`,
    where: source.name,
    hint: "Use the config.json that belongs to these weights.",
  });
}

/** Compares a checkpoint with a configuration; of the values only repeated tensors are read. */
export async function checkParameters(
  source: TensorSource,
  config: ModelConfig,
): Promise<LoadReport> {
  const table = parameterTable(config);
  checkCount(source, config, table);
  const missing: string[] = [];
  const misshapen: Misfit[] = [];
  const expected = new Set<string>();
  const check = (name: string, shape: readonly number[], isScale = false): void => {
    expected.add(name);
    const entry = source.entries.get(name);
    if (!entry) {
      missing.push(name);
      return;
    }
    const allowed = isScale ? ["F32"] : floatDTypes;
    if (entry.shape.join() !== shape.join() || !allowed.includes(entry.dtype))
      misshapen.push({
        name,
        got: `${entry.dtype} [${entry.shape.join(", ")}]`,
        expected: `${isScale ? "F32" : "a float dtype"} [${shape.join(", ")}]`,
      });
    else if (isFp8(entry.dtype) && shape.length === 2)
      check(scaleName(name), scaleShape(shape, blockOf(config)), true);
  };
  for (const spec of table)
    for (const name of checkpointNames(spec)) check(name, checkpointShape(spec));
  const unequal: string[] = [];
  for (const { name, of } of parameterAliases(config)) {
    expected.add(name);
    if (source.entries.has(name) && source.entries.has(of) && !(await isCopy(source, name, of)))
      unequal.push(name);
  }
  const extra = [...source.entries.keys()].filter((name) => !expected.has(name));
  return { missing, extra, misshapen, unequal };
}

/** Same dtype, shape and bytes, compared a few megabytes at a time. */
async function isCopy(source: TensorSource, name: string, of: string): Promise<boolean> {
  const [copy, original] = [source.entries.get(name), source.entries.get(of)];
  if (copy?.dtype !== original?.dtype || copy?.shape.join() !== original?.shape.join())
    return false;
  const count = elementCount(copy?.shape ?? []);
  const step = 2 ** 22;
  for (let start = 0; start < count; start += step) {
    const end = Math.min(count, start + step);
    const a = await source.readBytes(name, start, end);
    const b = await source.readBytes(of, start, end);
    if (a.some((byte, i) => byte !== b[i])) return false;
  }
  return true;
}

function listed(names: readonly string[]): string {
  const rest = names.length > 5 ? ` and ${names.length - 5} more` : "";
  return `${names.slice(0, 5).join(", ")}${rest}`;
}

/** A report as text, a line per kind; empty when there is nothing to say. */
export function describeReport({ missing, extra, misshapen, unequal }: LoadReport): string {
  const misfits = misshapen.map(({ name, got, expected }) => `${name} (${got}, not ${expected})`);
  const kinds: [string, readonly string[]][] = [
    ["missing", missing],
    ["misshapen", misfits],
    ["differs from the tensor that it should repeat", unequal],
    ["extra", extra],
  ];
  return kinds
    .filter(([, names]) => names.length > 0)
    .map(([kind, names]) => `${kind}: ${listed(names)}`)
    .join("; ");
}

/** Options of `loadParameters`. */
export interface LoadOptions {
  /** `f32` widens and dequantises; `stored` keeps the checkpoint's floats and gives scales apart. */
  readonly as?: "f32" | "stored";
  /** Only these parameters, by their names in `parameterTable`. */
  readonly only?: (spec: ParameterSpec) => boolean;
}

export interface LoadedParameter {
  readonly spec: ParameterSpec;
  readonly tensor: HostTensor;
  /** With `as: "stored"`, the block scales of an FP8 weight, stacked as it is. */
  readonly scales?: HostTensor;
}

/** Reads the parameters of a configuration one by one; rejects before the first when any cannot be had. */
export async function* loadParameters(
  source: TensorSource,
  config: ModelConfig,
  options: LoadOptions = {},
): AsyncGenerator<LoadedParameter, void, undefined> {
  await expectParameters(source, config);
  yield* readParameters(source, config, options);
}

/** Rejects when any parameter is missing or misshapen, or a copy is none. */
export async function expectParameters(source: TensorSource, config: ModelConfig): Promise<void> {
  const report = await checkParameters(source, config);
  const { missing, misshapen, unequal } = report;
  if (missing.length + misshapen.length + unequal.length > 0)
    throw new CheckpointError({
      what: `the weights do not fit the configuration (${describeReport(report)})`,
      where: source.name,
      hint: loadHint(report, config),
    });
}

/** The parameters one by one, of a source that `expectParameters` has seen. */
export async function* readParameters(
  source: TensorSource,
  config: ModelConfig,
  options: LoadOptions = {},
): AsyncGenerator<LoadedParameter, void, undefined> {
  for (const spec of parameterTable(config)) {
    if (options.only && !options.only(spec)) continue;
    yield options.as === "stored"
      ? await loadStored(source, spec, config)
      : { spec, tensor: await loadWidened(source, spec, config) };
  }
}

function loadHint({ missing, unequal }: LoadReport, config: ModelConfig): string {
  const isMtp = (name: string): boolean => {
    const layer = /^model\.layers\.(\d+)\./.exec(name)?.[1];
    return layer !== undefined && Number(layer) >= config.numHiddenLayers;
  };
  if (missing.length > 0 && missing.every(isMtp))
    return "Set num_nextn_predict_layers to 0 to use the model without its MTP module.";
  if (missing.length === 0 && unequal.length > 0)
    return "Embedding and head are shared; copy the main ones over those of the MTP module.";
  return "Use the config.json that belongs to these weights.";
}

/** One checkpoint tensor in f32. */
export async function readWidened(
  source: TensorSource,
  name: string,
  config: ModelConfig,
): Promise<Float32Array> {
  if (source.entries.get(name)?.dtype === "F64")
    return Float32Array.from((await source.readNumbers(name)).values);
  const tensor = await source.read(name);
  switch (tensor.dtype) {
    case "f32":
      return tensor.data as Float32Array;
    case "e4m3fn":
    case "e5m2":
      if (tensor.shape.length === 2) {
        const scales = await source.read(scaleName(name));
        return dequantizeBlocks(tensor, scales, blockOf(config)).data as Float32Array;
      }
      return decodeFloats(tensor.dtype, tensor.data as Uint8Array);
    default:
      return decodeFloats(tensor.dtype as "f16" | "bf16", tensor.data as Uint16Array);
  }
}

async function loadWidened(
  source: TensorSource,
  spec: ParameterSpec,
  config: ModelConfig,
): Promise<HostTensor> {
  const names = checkpointNames(spec);
  if (spec.experts === 0)
    return { dtype: "f32", shape: spec.shape, data: await readWidened(source, spec.name, config) };
  const size = elementCount(checkpointShape(spec));
  const data = new Float32Array(names.length * size);
  for (const [e, name] of names.entries())
    data.set(await readWidened(source, name, config), e * size);
  return { dtype: "f32", shape: spec.shape, data };
}

async function loadStored(
  source: TensorSource,
  spec: ParameterSpec,
  config: ModelConfig,
): Promise<LoadedParameter> {
  const names = checkpointNames(spec);
  const tensor = await stack(source, names, spec.shape);
  if ((tensor.dtype !== "e4m3fn" && tensor.dtype !== "e5m2") || checkpointShape(spec).length !== 2)
    return { spec, tensor };
  const blocks = scaleShape(checkpointShape(spec), blockOf(config));
  const shape = spec.experts === 0 ? blocks : [spec.experts, ...blocks];
  return { spec, tensor, scales: await stack(source, names.map(scaleName), shape) };
}

async function stack(
  source: TensorSource,
  names: readonly string[],
  shape: readonly number[],
): Promise<HostTensor> {
  const first = await source.read(names[0] as string);
  if (names.length === 1) return { ...first, shape };
  const data = hostArray(first.dtype, elementCount(shape));
  for (const [e, name] of names.entries()) {
    const slice = e === 0 ? first : await source.read(name);
    checkSameDType(source, name, slice.dtype, first.dtype);
    (data as Float32Array).set(slice.data as Float32Array, e * slice.data.length);
  }
  return { dtype: first.dtype, shape, data };
}

function checkSameDType(source: TensorSource, name: string, got: DType, expected: DType): void {
  if (got === expected && isFloat(got)) return;
  throw new CheckpointError({
    what: `the tensor is ${got}, the first expert's ${expected}`,
    where: `${source.name}, tensor ${name}`,
    hint: 'Load with as: "f32", or store all experts in one dtype.',
  });
}
