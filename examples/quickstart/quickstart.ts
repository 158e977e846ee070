/**
 * From nothing to a language model in five minutes: trains the small DeepSeek-V3 preset on declaration files that npm has
 * installed anyway, then lets it write, with and without speculative decoding. Run it by `npm run quickstart`; it leaves
 * checkpoint, metrics and report in `quickstart-out/`, or where `--out` says. `--seconds N` says how long to train, `--steps N`
 * how many steps instead (and less text is held out), `--tokens N` how much to write. `--device gpu` does it all on a GPU, `--adapter`
 * says which.
 */
import { existsSync, globSync } from "node:fs";
import { rm } from "node:fs/promises";
import { join, relative, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";

import { type Backend, compile, hostTensor, InputError } from "@millrace/graph";
import { createWasmBackend, probeWasm } from "@millrace/kernels-cpu";
import { createWgslBackend } from "@millrace/kernels-wgsl";
import {
  byteTokenizer,
  countParameters,
  declareInit,
  type ModelConfig,
  preset,
} from "@millrace/model-v3";
import { createEngine, type Engine, type GenerationResult } from "@millrace/runtime";
import {
  declareEvaluation,
  declareTrainStep,
  defaultSettings,
  evaluate,
  formatCount,
  formatDuration,
  heldOutBatches,
  type HeldOutResult,
  type TrainingSettings,
} from "@millrace/trainer";
import {
  gzipBitsPerByte,
  metricsName,
  readTokenDataset,
  reportName,
  train,
  writeRunReport,
} from "@millrace/trainer/node";

const root = fileURLToPath(new URL("../..", import.meta.url));
const { values: flags } = parseArgs({
  options: {
    seconds: { type: "string", default: "130" },
    steps: { type: "string" },
    device: { type: "string", default: "wasm" },
    adapter: { type: "string" },
    out: { type: "string", default: join(root, "quickstart-out") },
    tokens: { type: "string", default: "150" },
  },
});
const directory = resolve(flags.out);
const seconds = Number(flags.seconds);
const steps = flags.steps === undefined ? undefined : wholeNumber("steps", flags.steps);
const maxTokens = wholeNumber("tokens", flags.tokens);
const say = (text: string): void => void process.stderr.write(`${text}\n`);
const begun = performance.now();

const config = preset("small");
const backend = await openBackend();
const tokenizer = byteTokenizer();
describeModel(config);

const dataset = await readTokenDataset(findDeclarations(), {
  tokenizer,
  // Who counts steps does not want to wait for an evaluation that takes longer than they do.
  heldOutMaxBytes: steps === undefined ? undefined : 4096,
});
const gzip = gzipBitsPerByte(dataset.heldOutText) ?? Number.NaN;
say(
  `Text: ${formatCount(dataset.trainBytes)} bytes to train on, ${formatCount(dataset.heldOutText.length)} held out (gzip -9: ${gzip.toFixed(3)} bits per byte)`,
);

const settings: TrainingSettings =
  steps === undefined
    ? await fittingSettings(config, backend, seconds)
    : { ...defaultSettings(config, "small"), steps, seed: 1 };
say(
  `Training: ${settings.steps} steps of ${settings.batchSize} × ${settings.sequenceLength} tokens`,
);
// What an earlier quickstart left; nothing else is ever written there.
if (existsSync(join(directory, metricsName))) await rm(directory, { recursive: true });
const store = backend.createStore();
const interrupt = new AbortController();
process.once("SIGINT", () => interrupt.abort());
// The steps were chosen to fit; should the machine become slower meanwhile, fewer must do.
const deadline = steps === undefined ? [AbortSignal.timeout(1400 * seconds)] : [];
const title = "Quickstart: a small DeepSeek-V3";
const result = await train({
  config,
  backend,
  dataset,
  settings,
  directory,
  store,
  title,
  // A full evaluation takes a while; the last step has one anyway.
  heldOutBatches: 4,
  evaluateEvery: Math.ceil(settings.steps / 5),
  checkpointEvery: Math.ceil(settings.steps / 2),
  progress: process.stderr,
  signal: AbortSignal.any([interrupt.signal, ...deadline]),
});
if (interrupt.signal.aborted) process.exit(130);
const heldOut = result.heldOut ?? (await measureHeldOut());

say("\nGreedy, without and with speculation (the MTP module drafts one token ahead):");
const prompt = "interface Array<T> {\n    /**\n     * Returns the";
const engine = await createEngine({ config, backend, store, speculative: 1, tokenizer });
// Once each without looking at the clock: the engine below optimises what runs often.
for (const drafts of [0, 1]) await greedy(engine, drafts);
const plain = await greedy(engine, 0);
const drafted = await greedy(engine, 1);
if (plain.tokens.join() !== drafted.tokens.join())
  throw new InputError({
    what: "greedy decoding with speculation gave other tokens than without",
    where: "quickstart",
    hint: "This is a defect of Millrace; please report it.",
  });
const sampled = await engine.generate(tokenizer.encode(prompt), {
  maxTokens,
  temperature: 0.7,
  topP: 0.95,
  seed: 1,
});
engine.dispose();
store.dispose();

const acceptance = drafted.accepted / Math.max(1, drafted.drafted);
const speed = (generated: GenerationResult): string =>
  `${generated.decodeTokensPerSecond.toFixed(0)} tokens/s`;
await writeRunReport(join(directory, reportName), {
  config,
  dataset,
  backend,
  title,
  state: result.state,
  records: result.records,
  figures: [
    { label: "Drafts accepted", value: `${(100 * acceptance).toFixed(0)} %` },
    { label: "Decoding", value: speed(plain), note: `with speculation: ${speed(drafted)}` },
  ],
  samples: [
    { prompt, text: plain.text ?? "", note: "greedy" },
    { prompt, text: sampled.text ?? "", note: "temperature 0.7, top-p 0.95" },
  ],
});

print(`--- greedy ---\n${prompt}${plain.text}`);
print(`--- sampled at temperature 0.7 ---\n${prompt}${sampled.text}`);
print("---");
print(`greedy tokens     the same with and without speculation (${plain.tokens.length})`);
print(`without           ${speed(plain)}`);
print(
  `with speculation  ${speed(drafted)}, ${drafted.accepted} of ${drafted.drafted} drafts accepted (${(100 * acceptance).toFixed(0)} %)`,
);
print(
  `held-out text     ${heldOut?.bitsPerByte.toFixed(3)} bits per byte; gzip -9: ${gzip.toFixed(3)}`,
);
print(`checkpoint        ${relative(root, directory)}`);
print(`report            ${relative(root, join(directory, reportName))}`);
print(`time              ${formatDuration((performance.now() - begun) / 1000)}`);

function print(text: string): void {
  process.stdout.write(`${text}\n`);
}

function wholeNumber(name: string, text: string): number {
  const value = Number(text);
  if (Number.isInteger(value) && value > 0) return value;
  throw new InputError({
    what: `--${name} is "${text}"`,
    where: "quickstart",
    hint: "Give a whole number from 1.",
  });
}

async function openBackend(): Promise<Backend> {
  // 256-bit registers need a flag of the whole process, which this program owns.
  if (flags.device === "wasm") return createWasmBackend({ revectorize: probeWasm().revectorize });
  if (flags.device === "gpu")
    return createWgslBackend(flags.adapter === undefined ? {} : { adapter: flags.adapter });
  throw new InputError({
    what: `--device is "${flags.device}"`,
    where: "quickstart",
    hint: "Give wasm or gpu.",
  });
}

function describeModel(model: ModelConfig): void {
  const { total, activated } = countParameters(model);
  const moeLayers = model.numHiddenLayers - model.firstKDenseReplace;
  say(
    `Model: ${model.firstKDenseReplace} dense and ${moeLayers} MoE layers, ${model.nRoutedExperts} routed and ${model.nSharedExperts} shared experts, ${model.numExpertsPerTok} active, MTP depth ${model.numNextnPredictLayers}; ${formatCount(total)} parameters, ${formatCount(activated)} per token`,
  );
}

/** The declarations of the language's own library, which every installation of TypeScript has. */
function findDeclarations(): string[] {
  const places = [
    "node_modules/@typescript/*/lib/lib*.d.ts",
    "node_modules/typescript/lib/lib*.d.ts",
  ];
  for (const place of places) {
    const files = globSync(place, { cwd: root });
    if (files.length > 0) return files.map((file) => join(root, file));
  }
  throw new InputError({
    what: "the declaration files of TypeScript are not installed",
    where: "node_modules",
    hint: "Run npm ci first.",
  });
}

/** The preset's settings with as many steps as fit into `budget` seconds on this machine, found by running a few. */
async function fittingSettings(
  model: ModelConfig,
  device: Backend,
  budget: number,
): Promise<TrainingSettings> {
  const defaults = defaultSettings(model, "small");
  const { batchSize, sequenceLength } = defaults;
  const scratch = device.createStore();
  const init = await compile(declareInit(model, 0), device, { store: scratch });
  await init.run({});
  const graph = declareTrainStep(model, { batch: batchSize, sequenceLength });
  const program = await compile(graph, device, { store: scratch });
  const width = sequenceLength + 1;
  const inputs = {
    input_ids: hostTensor("i32", [batchSize, width], dataset.train.subarray(0, batchSize * width)),
    learning_rate: hostTensor("f32", [], [0]),
    step: hostTensor("i32", [], [1]),
  };
  // The first runs are slower, while the engine still optimises; of the rest the median counts, other work included.
  const times: number[] = [];
  for (const end = performance.now() + 6000; performance.now() < end;) {
    const start = performance.now();
    await program.run(inputs);
    times.push((performance.now() - start) / 1000);
  }
  const late = times.slice(Math.floor((2 * times.length) / 3)).toSorted((x, y) => x - y);
  const perStep = late[Math.floor(late.length / 2)]!;
  say(
    `Speed: ${formatCount((batchSize * sequenceLength) / perStep)} tokens/s; a step takes ${(1000 * perStep).toFixed(0)} ms and ${formatCount(program.bytes)} bytes, planned beforehand`,
  );
  for (const part of [init, program]) part.dispose();
  scratch.dispose();
  const fitting = Math.floor(budget / perStep / 10) * 10;
  return { ...defaults, steps: Math.min(3000, Math.max(100, fitting)), seed: 1 };
}

/** Losses on all held-out text, for a run that was stopped before its last step. */
async function measureHeldOut(): Promise<HeldOutResult | undefined> {
  const { batchSize, sequenceLength } = settings;
  const graph = declareEvaluation(config, { batch: batchSize, sequenceLength });
  const program = await compile(graph, backend, { store });
  const batches = heldOutBatches({ tokens: dataset.heldOut, batchSize, sequenceLength });
  const measured = await evaluate(program, batches, dataset);
  program.dispose();
  return measured;
}

function greedy(model: Engine, speculative: number): Promise<GenerationResult> {
  return model.generate(tokenizer.encode(prompt), { maxTokens, temperature: 0, speculative });
}
