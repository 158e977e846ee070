// Keeps the README's table of packages equal to the descriptions in their package.json files. In: the repository. Out: exit
// status 1 when they differ or a package lacks a README; with --write the README is corrected.
import { existsSync, globSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

import { allowedImports } from "./boundaries/allowed-imports.ts";
import { packageTable, type PackageManifest, withPackageTable } from "./documents/package-table.ts";

const root = fileURLToPath(new URL("../", import.meta.url));
/** In the order of the layers, so that a reader meets a package after what it builds on. */
const layers = Object.keys(allowedImports);

const names = globSync("packages/*/package.json", { cwd: root })
  .map((path) => path.replaceAll("\\", "/").split("/")[1]!)
  .toSorted((a, b) => layers.indexOf(a) - layers.indexOf(b));
const packages = names.map((name) => {
  const folder = `packages/${name}`;
  const manifest = readFileSync(join(root, folder, "package.json"), "utf8");
  const { name: published, description } = JSON.parse(manifest) as PackageManifest;
  return { name: published, description, folder };
});

const problems = packages
  .filter(({ folder }) => !existsSync(join(root, folder, "README.md")))
  .map(({ folder }) => `${folder}: there is no README.md.`);
const path = join(root, "README.md");
const document = readFileSync(path, "utf8");
const renewed = withPackageTable(document, packageTable(packages));
if (renewed === undefined)
  problems.push("README.md: the marks around the table of packages are missing.");
else if (renewed !== document && process.argv.includes("--write")) writeFileSync(path, renewed);
else if (renewed !== document)
  problems.push(
    "README.md: the table of packages is out of date. Run: node scripts/generate-tables.ts --write",
  );

for (const problem of problems) console.error(problem);
if (problems.length > 0) process.exitCode = 1;
else
  console.log(`${packages.length} packages are listed in the README as they describe themselves.`);
