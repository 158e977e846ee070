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
  "tfjs-256",
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

/** With 256-bit registers: what the command line sets the engine's option for, and the peer that gains most by it. */
export const isWide = (name: ContestantName): boolean =>
  name === "ceiling" || name === "millrace" || name === "tfjs-256";

/** There to compare the widths of registers. */
export const comparesWidths = (name: ContestantName): boolean => /-(128|256)$/.test(name);

/** What a user could pick instead in a browser or in Node without native code. */
export const webPeers: readonly ContestantName[] = ["jax-js", "tfjs", "onnxruntime-web"];
