// The rule that a package imports only what the table of layers allows and its manifest declares.
// In: source files, manifests, the table. Out: one message per forbidden import or dependency.
// It does not know which files exist; a broken relative path is the compiler's business.
import { posix } from "node:path";

import type { AllowedImports } from "./allowed-imports.ts";
import { isTest, type SourceFile } from "./source-file.ts";

/** The parts of a package.json that say what the package may load. */
export interface Manifest {
  readonly name: string;
  readonly dependencies?: Readonly<Record<string, string>>;
  readonly peerDependencies?: Readonly<Record<string, string>>;
  readonly devDependencies?: Readonly<Record<string, string>>;
}

const scope = "@millrace/";

/** The package a specifier belongs to: `a/b` of `a/b/c` when scoped, `a` otherwise. */
function packageOf(specifier: string): string {
  return specifier
    .split("/")
    .slice(0, specifier.startsWith("@") ? 2 : 1)
    .join("/");
}

function mayUseNode(file: string, node: AllowedImports["node"]): boolean {
  return typeof node === "boolean" ? node : node.includes(file);
}

/** Checks every import of one package's files. `folder` is the package's path, as `packages/graph`. */
export function checkImports(
  folder: string,
  files: readonly SourceFile[],
  manifest: Manifest,
  allowed: AllowedImports,
  rootDevDependencies: readonly string[],
): string[] {
  const problems: string[] = [];
  const published = { ...manifest.dependencies, ...manifest.peerDependencies };
  const declared = { ...published, ...manifest.devDependencies };
  for (const file of files) {
    const test = isTest(file.path);
    const ours = test ? [...allowed.source, ...allowed.tests] : allowed.source;
    const external = test
      ? [...Object.keys(declared), ...rootDevDependencies]
      : Object.keys(published);
    for (const { specifier, line } of file.imports) {
      const complain = (text: string): number => problems.push(`${file.path}:${line}: ${text}`);
      if (specifier.startsWith(".")) {
        const target = posix.join(posix.dirname(file.path), specifier);
        const isSharedTestSetting = test && target === "vitest.shared.ts";
        if (!target.startsWith(`${folder}/`) && !isSharedTestSetting) {
          complain(`"${specifier}" leaves ${folder}. Import the other package by its name.`);
        }
        continue;
      }
      if (specifier.startsWith("node:")) {
        if (!test && !mayUseNode(file.path.slice(`${folder}/src/`.length), allowed.node)) {
          complain(`"${specifier}": this code runs outside Node as well. Pass the value in.`);
        }
        continue;
      }
      const name = packageOf(specifier);
      if (name === manifest.name) {
        complain(`"${specifier}" is this package. Import the file by its relative path.`);
        continue;
      }
      if (name.startsWith(scope) && !ours.includes(name.slice(scope.length))) {
        complain(
          `${manifest.name} may not import ${name}${test ? "" : " outside tests"}. ` +
            `See scripts/boundaries/allowed-imports.ts.`,
        );
      } else if (!external.includes(name)) {
        complain(
          `"${name}" is not in the ${test ? "" : "(peer) "}dependencies of ${manifest.name}.`,
        );
      }
    }
  }
  return problems;
}

/** Checks that a manifest depends on no package of ours that the table forbids. */
export function checkManifest(path: string, manifest: Manifest, allowed: AllowedImports): string[] {
  const problems: string[] = [];
  const published = { ...manifest.dependencies, ...manifest.peerDependencies };
  const check = (names: object, permitted: readonly string[], kind: string): void => {
    for (const name of Object.keys(names)) {
      if (name.startsWith(scope) && !permitted.includes(name.slice(scope.length))) {
        problems.push(`${path}: ${kind} "${name}" is not allowed by the table of layers.`);
      }
    }
  };
  check(published, allowed.source, "dependency");
  check(manifest.devDependencies ?? {}, [...allowed.source, ...allowed.tests], "devDependency");
  return problems;
}
