/**
 * A layer of one's own: two linear maps with ternary weights and softplus between. In: x [B, D]. Out: [B, D]. A layer is a
 * function that declares nodes under a scope, no more.
 */
import type { Dim, GraphBuilder, Tensor } from "@millrace/graph";
import { linear } from "@millrace/graph";
import { softplus } from "./softplus.ts";
import { ternarize } from "./ternarize.ts";

export interface TernaryMlpOptions {
  readonly width: number;
  readonly hiddenWidth: number;
}

export function ternaryMlp(
  b: GraphBuilder,
  x: Tensor,
  { width, hiddenWidth }: TernaryMlpOptions,
): Tensor {
  return b.scope("ternary_mlp", () => {
    const up = b.parameter("up.weight", "f32", [hiddenWidth, width]); // [Dh, D]
    const down = b.parameter("down.weight", "f32", [width, hiddenWidth]); // [D, Dh]
    const hidden = softplus(linear(x, ternarize(up))); // [B, Dh]
    return linear(hidden, ternarize(down)); // [B, D]
  });
}

/** The names and shapes of the layer's parameters. */
export function ternaryMlpParameters({
  width,
  hiddenWidth,
}: TernaryMlpOptions): readonly { readonly name: string; readonly shape: readonly number[] }[] {
  return [
    { name: "up.weight", shape: [hiddenWidth, width] },
    { name: "down.weight", shape: [width, hiddenWidth] },
  ];
}

/** Rows of a batch, at most. */
export const batchSize = (b: GraphBuilder): Dim => b.size("B", 1, 256);
