// What the boundary rules need to know of a TypeScript file: where it is and what it imports.
// In: a path and a text. Out: a `SourceFile` with its import specifiers and the lines they are on.
// It reads import statements by pattern, not with a parser: the formatter puts every statement at
// the start of a line, and TypeScript 7 has no parser to call. It does not resolve package names.

/** One import, re-export or dynamic import of a file. */
export interface Import {
  readonly specifier: string;
  readonly line: number;
  /** Whether the statement is `import type` or `export type`, which leaves nothing to run. */
  readonly typeOnly: boolean;
}

/** A TypeScript file of one of our packages. */
export interface SourceFile {
  /** Path from the root of the repository, with forward slashes. */
  readonly path: string;
  readonly text: string;
  readonly imports: readonly Import[];
}

const statements: readonly RegExp[] = [
  // import … from "x", export … from "x"; the clause may span lines but holds no quote or semicolon.
  /^[ \t]*(?:import|export)\b[^;"'`]*?\bfrom\s*["']([^"']+)["']/gm,
  /^[ \t]*import\s*["']([^"']+)["']/gm,
  /^(?![ \t]*(?:\/\/|\*|\/\*)).*?\bimport\(\s*["']([^"']+)["']/gm,
];

/** Reads the imports of a file. */
export function readSource(path: string, text: string): SourceFile {
  const imports: Import[] = [];
  for (const statement of statements) {
    for (const match of text.matchAll(statement)) {
      const end = match.index + match[0].length;
      imports.push({
        specifier: match[1]!,
        line: text.slice(0, end).split("\n").length,
        typeOnly: /^\s*(?:import|export)\s+type\b(?!\s+from)/.test(match[0]),
      });
    }
  }
  return { path, text, imports };
}

/** Whether the file is a test, or in a package's `test` folder for them: neither is published. */
export function isTest(path: string): boolean {
  if (/^[^/]+\/[^/]+\/test\//.test(path)) return true;
  return path.endsWith(".test.ts") || path.endsWith("/vitest.config.ts");
}
