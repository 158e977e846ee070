// Proves that the engines compute what they should: on each Node the tests of all packages, the quickstart, and the golden
// cases on WebAssembly with 1, 2 and 4 threads, with and without relaxed SIMD; where the engine has 256-bit registers, all of what
// runs on WebAssembly with and without them.
// In: `--node` for each Node beside the one that runs this. Out: a line for each proof as it ends, the output of
// what failed, a table, and exit status 1 if anything failed.
import { spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";

import {
  closingLine,
  describeFailures,
  readResults,
  resultsFile,
  testedFolders,
} from "./test-results.ts";
import { canRevectorize, revectorizedTests } from "./revectorized-tests.ts";

const root = fileURLToPath(new URL("../", import.meta.url));

const usage = `npm run prove -- [options]

  --node <path>    another Node to prove beside the running one, once for each
  --golden <dir>   where the golden cases are (../shared/golden)
  --match <text>   only proofs whose name contains it
  --help           this text
`;

/** What runs much of its tests on the WebAssembly backend. */
const onWebAssembly = ["kernels-cpu", "model-v3", "runtime", "trainer"].map(
  (name) => `packages/${name}`,
);

/** One Node. */
interface Engine {
  readonly path: string;
  readonly version: string;
  /** Whether it has 256-bit registers for us. */
  readonly canRevectorize: boolean;
}

interface Outcome {
  readonly ok: boolean;
  /** In a few words. */
  readonly summary: string;
  /** What to read when it failed. */
  readonly details: string;
}

interface Proof {
  readonly name: string;
  /** Not every engine can be told to. */
  readonly revectorized: boolean;
  readonly run: (engine: Engine) => Outcome;
}

/** Runs one process on an engine, and whatever it starts as `node`. */
function start(
  { path }: Engine,
  args: readonly string[],
): { readonly ok: boolean; readonly output: string } {
  const { status, stdout, stderr, error } = spawnSync(path, args, {
    cwd: root,
    encoding: "utf8",
    maxBuffer: 2 ** 28,
    env: {
      ...process.env,
      // Nothing is taken from what another engine compiled.
      MILLRACE_CACHE: "off",
      PATH: [dirname(path), process.env["PATH"]].join(delimiter),
    },
  });
  return { ok: status === 0, output: `${stdout}${stderr}${error?.message ?? ""}` };
}

/** Runs one of our sources. */
const startSource = (engine: Engine, file: string, args: readonly string[]) =>
  start(engine, [
    "--conditions=millrace-source",
    // Node 22 says that it reads TypeScript by an experiment.
    "--disable-warning=ExperimentalWarning",
    join(root, file),
    ...args,
  ]);

const tests = (folder: string, revectorized = false): Proof => ({
  name: `tests of ${folder}${revectorized ? ", 256-bit registers" : ""}`,
  revectorized,
  run: (engine) => {
    rmSync(join(root, folder, resultsFile), { force: true });
    const vitest = join(root, "node_modules/vitest/vitest.mjs");
    const reporter = `--reporter=${join(root, "scripts/results-reporter.ts")}`;
    const options = revectorized ? revectorizedTests : [];
    const { ok, output } = start(engine, [vitest, "run", `--root=${folder}`, reporter, ...options]);
    const results = readResults(root, folder);
    const details = results.failures.length > 0 ? describeFailures(results.failures) : output;
    return { ok, summary: closingLine(results), details };
  },
});

const quickstart: Proof = {
  name: "quickstart, three steps",
  revectorized: false,
  run: (engine) => {
    const out = mkdtempSync(join(tmpdir(), "millrace-prove-"));
    const file = "examples/quickstart/quickstart.ts";
    const { ok, output } = startSource(engine, file, ["--steps=3", "--tokens=20", `--out=${out}`]);
    rmSync(out, { recursive: true });
    return { ok, summary: ok ? "trained and sampled" : "failed", details: output };
  },
};

function goldenProofs(directory: string): Proof[] {
  const cases = existsSync(directory)
    ? readdirSync(directory).filter((name) =>
        existsSync(join(directory, name, "expected.safetensors")),
      )
    : [];
  if (cases.length === 0) {
    const details = `There are no golden cases in ${directory}; say where they are with --golden.`;
    const none = { ok: false, summary: "none found", details };
    return [{ name: "golden", revectorized: false, run: () => none }];
  }
  const variants = [false, true].flatMap((revectorized) =>
    ["on", "off"].flatMap((relaxed) =>
      [1, 2, 4].map((threads) => ({ revectorized, relaxed, threads })),
    ),
  );
  return variants.map(({ revectorized, relaxed, threads }) => {
    const options = [
      "--device=wasm",
      `--threads=${threads}`,
      `--relaxed-simd=${relaxed}`,
      `--revectorize=${revectorized ? "on" : "off"}`,
    ];
    const registers = revectorized ? ", 256-bit registers" : "";
    return {
      name: `golden, ${threads} ${threads === 1 ? "thread" : "threads"}, relaxed SIMD ${relaxed}${registers}`,
      revectorized,
      run: (engine: Engine): Outcome => {
        const failures = cases.flatMap((name) => {
          const args = ["verify", join(directory, name), ...options];
          const { ok, output } = startSource(engine, "packages/cli/src/main.ts", args);
          return ok ? [] : [{ name, message: output }];
        });
        const passed = cases.length - failures.length;
        return {
          ok: failures.length === 0,
          summary: closingLine({ passed, skipped: 0, failures }),
          details: describeFailures(failures),
        };
      },
    };
  });
}

function engineAt(path: string): Engine {
  const { stdout, error } = spawnSync(path, ["--version"], { encoding: "utf8" });
  if (error) throw error;
  return { path, version: stdout.trim(), canRevectorize: canRevectorize(path) };
}

function main(): void {
  const { values } = parseArgs({
    options: {
      node: { type: "string", multiple: true, default: [] },
      golden: { type: "string", default: join(root, "../shared/golden") },
      match: { type: "string", default: "" },
      help: { type: "boolean", default: false },
    },
  });
  if (values.help) {
    console.log(usage);
    return;
  }
  const engines = [process.execPath, ...values.node.map((path) => resolve(path))].map(engineAt);
  const proofs = [
    ...testedFolders(root).map((folder) => tests(folder)),
    ...onWebAssembly.map((folder) => tests(folder, true)),
    quickstart,
    ...goldenProofs(resolve(values.golden)),
  ].filter(({ name }) => name.includes(values.match));
  const rows = engines.flatMap((engine) =>
    proofs.map(({ name, revectorized, run }) => {
      if (revectorized && !engine.canRevectorize)
        return { engine, name, ok: true, summary: "not in this engine" };
      const begun = performance.now();
      const { ok, summary, details } = run(engine);
      const seconds = ((performance.now() - begun) / 1e3).toFixed(0);
      console.error(`${engine.version} ${name}: ${summary} (${seconds} s)`);
      if (!ok) console.error(`\n${details}\n`);
      return { engine, name, ok, summary };
    }),
  );
  const versions = engines.map(({ version }) => version);
  console.log(`| | ${versions.join(" | ")} |\n| --- |${" --- |".repeat(engines.length)}`);
  for (const { name } of proofs) {
    const cells = rows.filter((row) => row.name === name);
    const words = cells.map(({ ok, summary }) => (ok ? summary : `**${summary}**`));
    console.log(`| ${name} | ${words.join(" | ")} |`);
  }
  if (rows.length === 0) console.error(`No proof's name contains "${values.match}".`);
  if (rows.length === 0 || rows.some(({ ok }) => !ok)) process.exitCode = 1;
}

main();
