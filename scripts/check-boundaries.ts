// Checks what neither the compiler nor the linter sees: layers, cycles, names, documents, the lock.
// In: the files of the repository. Out: exit status 1 and one line per problem, or one line of praise.
// Each rule is a pure function in scripts/boundaries; this file only reads and reports.
import { existsSync, globSync, readFileSync } from "node:fs";
import { basename, join } from "node:path";
import { fileURLToPath } from "node:url";

import { allowedImports, type AllowedImports } from "./boundaries/allowed-imports.ts";
import { checkDocument, type Tree } from "./boundaries/document-paths.ts";
import { checkCycles } from "./boundaries/import-cycles.ts";
import { checkLock, type Lock } from "./boundaries/lock-file.ts";
import { checkImports, checkManifest, type Manifest } from "./boundaries/package-edges.ts";
import { readSource, type SourceFile } from "./boundaries/source-file.ts";
import { checkFileNames, checkThrownErrors } from "./boundaries/source-rules.ts";

const root = fileURLToPath(new URL("../", import.meta.url));
const ignored = new Set(["node_modules", "dist", ".cache", ".nx", ".git"]);

function find(patterns: readonly string[]): string[] {
  const exclude = (path: string): boolean => ignored.has(basename(path));
  return globSync(patterns, { cwd: root, exclude })
    .map((path) => path.replaceAll("\\", "/"))
    .toSorted();
}

const read = (path: string): string => readFileSync(join(root, path), "utf8");
const readJson = <T>(path: string): T => JSON.parse(read(path)) as T;

const problems: string[] = [];
const rootManifest = readJson<Manifest>("package.json");
const rootDevDependencies = Object.keys(rootManifest.devDependencies ?? {});

/** Examples stand for users: they may import every package, by its public name. */
const exampleImports: AllowedImports = {
  source: Object.keys(allowedImports),
  tests: [],
  node: true,
};

const folders = find(["packages/*/package.json", "examples/*/package.json"]).map((path) =>
  path.slice(0, -"/package.json".length),
);
let fileCount = 0;
for (const folder of folders) {
  const [kind = "", name = ""] = folder.split("/");
  const allowed = kind === "examples" ? exampleImports : allowedImports[name];
  if (allowed === undefined) {
    problems.push(`${folder}: add the package to scripts/boundaries/allowed-imports.ts.`);
    continue;
  }
  const files: SourceFile[] = find([`${folder}/**/*.ts`]).map((path) =>
    readSource(path, read(path)),
  );
  fileCount += files.length;
  const manifest = readJson<Manifest>(`${folder}/package.json`);
  problems.push(
    ...checkManifest(`${folder}/package.json`, manifest, allowed),
    ...checkImports(folder, files, manifest, allowed, rootDevDependencies),
    ...checkCycles(files),
    ...checkFileNames(files.map(({ path }) => path)),
    ...(kind === "packages" ? checkThrownErrors(files) : []),
  );
}

const tree: Tree = {
  exists: (path) => existsSync(join(root, path)) || (/[*{]/.test(path) && find([path]).length > 0),
  read,
};
const documents = find(["**/*.md", ".changeset/*.md", ".github/**/*.md"]).filter(
  (path) => !path.endsWith("CHANGELOG.md"),
);
for (const path of documents) problems.push(...checkDocument(path, read(path), tree));

problems.push(...checkLock(readJson<Lock>("package-lock.json")));

for (const problem of problems) console.error(problem);
if (problems.length > 0) {
  console.error(`boundaries: ${problems.length} problems`);
  process.exitCode = 1;
} else {
  console.log(
    `boundaries: ${folders.length} packages, ${fileCount} files, ${documents.length} documents, no problems`,
  );
}
