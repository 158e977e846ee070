/**
 * How closely each tensor of a case must be met. In: its name. Out: a rule, or nothing for a name that is not known. The numbers
 * are those of the golden data's README, for f32 on a CPU.
 */
import type { Device } from "../options.ts";
import type { Rule } from "./compare.ts";

interface NamedRule extends Rule {
  readonly names: RegExp;
  /** Where the configuration has YaRN: its large angles double the noise. */
  readonly withYarn?: number;
}

const exact = { measure: "exact", tolerance: 0 } as const;

/** The first match counts. Tap names may carry `prefill.` or `decode.` in front. */
const table: readonly NamedRule[] = [
  { names: /(^|\.)(input_ids|position_ids|target_ids|prefill_length|tokens)$/, ...exact },
  { names: /(^|\.)router\.layers\.\d+\.topk_indices$/, ...exact },
  { names: /^load\.layers\.\d+$/, ...exact },
  { names: /^(dequant\.|(e4m3fn|e5m2)\.decode$|encode\.|act_quant(_ue8m0)?\.)/, ...exact },
  { names: /^gemm\.weight_/, ...exact },
  { names: /^fp8_linear\..*\.input$/, ...exact },
  { names: /^fp8_linear\..*\.output$/, measure: "row", tolerance: 1e-5 },
  { names: /^gemm(_ue8m0)?\.output$/, measure: "row", tolerance: 1e-5 },
  // One activation that rounds the other way changes the codes of whole groups after it: 1e-6 of noise on the embedding
  // alone moves these logits by 0.08 of their spread.
  { names: /^fp8_gemm\.logits/, measure: "rms", tolerance: 0.2 },
  { names: /(^|\.)mla\.layers\.\d+\.(c_kv|k_rope)$/, measure: "absolute", tolerance: 5e-5 },
  {
    names: /(^|\.)router\.layers\.\d+\.(scores|topk_weights)$/,
    measure: "absolute",
    tolerance: 2e-5,
  },
  { names: /(^|\.)rope\.(cos|sin)$/, measure: "absolute", tolerance: 1e-5 },
  { names: /^attn\.softmax_scale$/, measure: "absolute", tolerance: 1e-5 },
  { names: /^loss(_f64)?\./, measure: "relative", tolerance: 1e-5 },
  { names: /^balance\.layers\.\d+\.loss$/, measure: "relative", tolerance: 1e-5 },
  { names: /^balance\.layers\.\d+\.[fP]$/, measure: "absolute", tolerance: 2e-5 },
  { names: /^bias\.layers\.\d+$/, measure: "absolute", tolerance: 1e-6 },
  { names: /^grad(_balance)?\./, measure: "tensor", tolerance: 1e-4 },
  { names: /^grad_norm$/, measure: "relative", tolerance: 1e-4 },
  { names: /^model_after\./, measure: "absolute", tolerance: 5e-5 },
  {
    names: /(^|\.)(logits(_naive)?|hidden\..+|attn\.layers\.\d+\.output|mlp\.layers\.\d+\.output)$/,
    measure: "absolute",
    tolerance: 1e-4,
    withYarn: 2e-4,
  },
  {
    names: /^mtp(\.\d+)?\.(eh_proj_output|final_norm)$/,
    measure: "absolute",
    tolerance: 1e-4,
    withYarn: 2e-4,
  },
];

/** How much more a device may differ: a GPU sums in another order on every model of it. */
const allowances: Readonly<Record<Device, number>> = { wasm: 1, interpreter: 1, gpu: 10 };

/** The rule of a tensor, by its name. Codes, choices and table values are exact on every device. */
export function ruleFor(
  name: string,
  hasYarn: boolean,
  device: Device = "interpreter",
): Rule | undefined {
  const found = table.find(({ names }) => names.test(name));
  if (!found) return undefined;
  const { measure, tolerance, withYarn = tolerance } = found;
  return { measure, tolerance: (hasYarn ? withYarn : tolerance) * allowances[device] };
}

/** Why a tensor is not to be met, for those that are there for orientation only. */
export function skipReason(name: string): string | undefined {
  return name.startsWith("variant.")
    ? "another reading of the model, for orientation only"
    : undefined;
}
