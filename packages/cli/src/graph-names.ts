/**
 * Names of a model's graphs: apart from their declarations, so that `--help` loads no compiler.
 */
export const graphNames = ["train", "prefill", "decode"] as const;
export type GraphName = (typeof graphNames)[number];
