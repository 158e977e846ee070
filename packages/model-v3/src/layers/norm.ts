/**
 * RMSNorm with the scope's `weight`. In: [N, D]. Out: [N, D]. The norms inside MLA use 1e-6 whatever `rms_norm_eps` says, as
 * DeepSeek's code and Hugging Face's do; all others follow the configuration.
 */
import { rmsNorm } from "@millrace/graph";
import type { Tensor } from "@millrace/graph";
import type { LayerScope } from "./layer-scope.ts";

/** x [N, D] over its root mean square, times `weight` [D]. */
export function norm(scope: LayerScope, x: Tensor, eps: number = scope.config.rmsNormEps): Tensor {
  return scope.declare(() => rmsNorm(x, scope.parameter("weight"), eps)); // [N, D]
}

/** The fixed epsilon of the two norms on MLA's latents. */
export const latentEps = 1e-6;
