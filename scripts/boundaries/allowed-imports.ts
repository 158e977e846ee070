// The table of which package may import which: the architecture's layers as data.
// In: nothing. Out: `allowedImports`, read by the boundary check and by nothing else.
// `source` is what published code may import, `tests` what test files may import besides.
// The libraries above `model-v3` never see a kernels package: they are handed a backend value.

/** What one package may import of our other packages, by folder name. */
export interface AllowedImports {
  readonly source: readonly string[];
  readonly tests: readonly string[];
  /** Whether published code may use Node's own modules, or the only files of `src` that may. */
  readonly node: boolean | readonly string[];
}

const oracles = ["kernels-cpu", "conformance"];

/** What `@millrace/trainer/node` is made of. */
const trainerFiles = [
  "checkpoint/durable.ts",
  "checkpoint/load.ts",
  "checkpoint/manifest.ts",
  "checkpoint/save.ts",
  "checkpoint/store-state.ts",
  "data/text-files.ts",
  "metrics-file.ts",
  "run-directory.ts",
  "run-report.ts",
  "trainer.ts",
];

export const allowedImports: Readonly<Record<string, AllowedImports>> = {
  graph: { source: [], tests: [], node: false },
  conformance: { source: ["graph"], tests: [], node: false },
  "kernels-cpu": { source: ["graph"], tests: ["conformance"], node: true },
  "kernels-wgsl": { source: ["graph"], tests: oracles, node: ["node.ts"] },
  "model-v3": { source: ["graph"], tests: oracles, node: ["node.ts"] },
  trainer: { source: ["graph", "model-v3"], tests: oracles, node: trainerFiles },
  runtime: { source: ["graph", "model-v3"], tests: oracles, node: false },
  cli: {
    source: ["graph", "kernels-cpu", "kernels-wgsl", "model-v3", "trainer", "runtime"],
    tests: ["conformance"],
    node: true,
  },
};
