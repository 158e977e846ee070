/**
 * Who takes part. In: nothing. Out: names in the order in which they are measured. The machine's ceilings come first, so that every
 * share is of what was measured just before.
 */

export const contestantNames = [
  "ceiling",
  "ceiling-128",
  "millrace",
  "millrace-128",
  "jax-js",
  "tfjs",
  "onnxruntime-web",
  "onnxruntime-node",
  "llama.cpp",
  "pytorch",
  "pytorch-avx512",
] as const;
export type ContestantName = (typeof contestantNames)[number];

/** Those that `--peers` chooses among: all but what everything is compared with. */
export const peerNames: readonly ContestantName[] = contestantNames.slice(
  contestantNames.indexOf("millrace-128"),
);

export const isLimit = (name: ContestantName): boolean => name.startsWith("ceiling");
export const isOurs = (name: ContestantName): boolean => name.startsWith("millrace");

/** Without 256-bit registers: ours as it is in a browser, and the limit that it meets there. */
export const isNarrow = (name: ContestantName): boolean => name.endsWith("-128");

/** What a user could pick instead in a browser or in Node without native code. */
export const webPeers: readonly ContestantName[] = ["jax-js", "tfjs", "onnxruntime-web"];
