/**
 * The dense model for contestants that it is written out for. In: a configuration. Out: its parameters under short names, its
 * tokens and rotary tables. Rows of query and key projections are reordered so that the two halves of a head are
 * rotated rather than neighbouring elements: the same model, in the way that suits these libraries.
 */
import type { ModelConfig } from "@millrace/model-v3";
import { inverseFrequencies, parameterTable } from "@millrace/model-v3";
import { parameterValues, tokenRows } from "../model-values.ts";

export interface DenseParameter {
  readonly shape: readonly number[];
  readonly data: Float32Array<ArrayBuffer>;
}

const shortNames: readonly (readonly [RegExp, string])[] = [
  [/^model\.embed_tokens\.weight$/, "embed"],
  [/^model\.norm\.weight$/, "norm"],
  [/^lm_head\.weight$/, "head"],
  [/^model\.layers\.(\d+)\.input_layernorm\.weight$/, "$1.norm1"],
  [/^model\.layers\.(\d+)\.post_attention_layernorm\.weight$/, "$1.norm2"],
  [/^model\.layers\.(\d+)\.self_attn\.(\w)_proj\.weight$/, "$1.$2"],
  [/^model\.layers\.(\d+)\.mlp\.(gate|up|down)_proj\.weight$/, "$1.$2"],
];

function shortName(name: string): string | undefined {
  const found = shortNames.find(([pattern]) => pattern.test(name));
  return found && name.replace(found[0], found[1]);
}

/** Even rows of each head first, then odd ones. */
function halved(
  data: Float32Array,
  rows: number,
  columns: number,
  width: number,
): Float32Array<ArrayBuffer> {
  const out = new Float32Array(data.length);
  for (let row = 0; row < rows; row++) {
    const within = row % width;
    const to = row - within + (within % 2 === 0 ? within / 2 : (width + within - 1) / 2);
    out.set(data.subarray(row * columns, (row + 1) * columns), to * columns);
  }
  return out;
}

/** Parameters by short name; undefined unless the model is dense multi-head attention that rotates whole heads. */
export function denseParameters(config: ModelConfig): Record<string, DenseParameter> | undefined {
  const isDense = config.attention === "mha" && config.nRoutedExperts === 0;
  if (!isDense || config.qkNopeHeadDim !== config.qkRopeHeadDim) return undefined;
  const parameters: Record<string, DenseParameter> = {};
  for (const spec of parameterTable(config)) {
    const name = shortName(spec.name);
    if (name === undefined) return undefined;
    const data = parameterValues(config, spec);
    const [rows = 1, columns = 1] = spec.shape;
    const turned = /\.[qk]$/.test(name) ? halved(data, rows, columns, config.qkNopeHeadDim) : data;
    parameters[name] = { shape: spec.shape, data: turned };
  }
  return parameters;
}

/** Cosines and sines [T, d], each half of a row the same. */
export function denseTables(
  config: ModelConfig,
  tokens: number,
): { readonly cos: Float32Array<ArrayBuffer>; readonly sin: Float32Array<ArrayBuffer> } {
  const frequencies = inverseFrequencies(config);
  const table = (of: (angle: number) => number): Float32Array<ArrayBuffer> => {
    const out = new Float32Array(tokens * frequencies.length * 2);
    for (let t = 0; t < tokens; t++)
      for (let j = 0; j < 2 * frequencies.length; j++)
        out[t * frequencies.length * 2 + j] = of(t * frequencies[j % frequencies.length]!);
    return out;
  };
  return { cos: table(Math.cos), sin: table(Math.sin) };
}

/** What each position reads and what it is asked for, both [B·T]. */
export function denseTokens(
  config: ModelConfig,
  batch: number,
  tokens: number,
): { readonly inputs: Int32Array<ArrayBuffer>; readonly labels: Int32Array<ArrayBuffer> } {
  const rows = tokenRows(config, batch, tokens);
  const pick = (ahead: number): Int32Array<ArrayBuffer> =>
    Int32Array.from(
      { length: batch * tokens },
      (_, i) => rows[Math.floor(i / tokens) * (tokens + 1) + (i % tokens) + ahead]!,
    );
  return { inputs: pick(0), labels: pick(1) };
}
