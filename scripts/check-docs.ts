// Runs the examples in the documents. In: every Markdown file outside dependencies. Out: exit status 1 and the difference
// for each example that fails or prints something else than the document says. With --write the documents are corrected.
import { spawnSync } from "node:child_process";
import { globSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { basename, join } from "node:path";
import { fileURLToPath } from "node:url";

import { findExamples, withOutputs, type DocumentExample } from "./documents/examples.ts";

const root = fileURLToPath(new URL("../", import.meta.url));
const ignored = new Set(["node_modules", "dist", ".cache", ".nx", ".git", ".changeset"]);
const write = process.argv.includes("--write");
/** Examples import packages by name, so they must lie where these are installed. */
const workFolder = join(root, ".cache/documents");

function run({ language, code }: DocumentExample): {
  status: number | null;
  output: string;
  errors: string;
} {
  mkdirSync(workFolder, { recursive: true });
  const file = join(workFolder, `example.${language}`);
  writeFileSync(file, code);
  const command =
    language === "ts"
      ? [process.execPath, "--conditions=millrace-source", file]
      : ["bash", "-e", file];
  const { status, stdout, stderr } = spawnSync(command[0]!, command.slice(1), {
    cwd: root,
    encoding: "utf8",
    env: { ...process.env, PATH: `${join(root, "node_modules/.bin")}:${process.env["PATH"]}` },
  });
  return { status, output: stdout, errors: stderr };
}

let count = 0;
let failures = 0;
const exclude = (path: string): boolean => ignored.has(basename(path));
for (const path of globSync("**/*.md", { cwd: root, exclude }).toSorted()) {
  const document = readFileSync(join(root, path), "utf8");
  const outputs: { at: readonly [number, number]; text: string }[] = [];
  for (const example of findExamples(document)) {
    count++;
    const place = `${path}:${example.line}`;
    const { status, output, errors } = run(example);
    if (status !== 0) {
      failures++;
      console.error(`${place}: the example fails.\n${errors}`);
    } else if (example.outputAt && output !== example.output) {
      outputs.push({ at: example.outputAt, text: output });
      if (write) continue;
      failures++;
      console.error(`${place}: the example prints something else now:\n${output}`);
    }
  }
  if (write && outputs.length > 0) writeFileSync(join(root, path), withOutputs(document, outputs));
}
rmSync(workFolder, { recursive: true, force: true });
if (failures > 0) {
  console.error("Correct the code, or run: node scripts/check-docs.ts --write");
  process.exitCode = 1;
} else console.log(`${count} examples in the documents run and print what they say.`);
