// Every rule of the boundary check must report a planted fault and stay silent without it.
import { describe, expect, it } from "vitest";

import { checkDocument, type Tree } from "./document-paths.ts";
import { findCycles } from "./import-cycles.ts";
import { checkLock } from "./lock-file.ts";
import { checkImports, checkManifest } from "./package-edges.ts";
import { readSource } from "./source-file.ts";
import { checkFileNames, checkThrownErrors } from "./source-rules.ts";

describe("readSource", () => {
  it("finds every form of import with its line, and none in comments", () => {
    const text = [
      "// import { no } from 'comment';",
      " * import { no } from 'doc';",
      'import { a } from "one";',
      "import type {",
      "  B,",
      "} from './two.ts';",
      'import "three";',
      'export { c } from "./four.ts";',
      'const five = await import("five");',
      "export const from = 'not-an-import';",
    ].join("\n");
    expect(readSource("x.ts", text).imports.toSorted((a, b) => a.line - b.line)).toEqual([
      { specifier: "one", line: 3, typeOnly: false },
      { specifier: "./two.ts", line: 6, typeOnly: true },
      { specifier: "three", line: 7, typeOnly: false },
      { specifier: "./four.ts", line: 8, typeOnly: false },
      { specifier: "five", line: 9, typeOnly: false },
    ]);
  });
});

describe("checkImports", () => {
  const manifest = {
    name: "@millrace/trainer",
    dependencies: { "@millrace/model-v3": "*", tinyglobby: "1" },
    devDependencies: { "@millrace/kernels-cpu": "*" },
  };
  const allowed = { source: ["model-v3"], tests: ["kernels-cpu"], node: ["files.ts"] };
  const check = (path: string, specifier: string): string[] =>
    checkImports(
      "packages/trainer",
      [readSource(path, `import { x } from "${specifier}";`)],
      manifest,
      allowed,
      ["vitest"],
    );

  it.each([
    ["packages/trainer/src/a.ts", "@millrace/model-v3"],
    ["packages/trainer/src/a.ts", "tinyglobby"],
    ["packages/trainer/src/loss/a.ts", "../b.ts"],
    ["packages/trainer/src/a.test.ts", "@millrace/kernels-cpu"],
    ["packages/trainer/src/a.test.ts", "vitest"],
    ["packages/trainer/src/a.test.ts", "node:fs"],
    ["packages/trainer/src/files.ts", "node:fs"],
  ])("accepts %s importing %s", (path, specifier) => {
    expect(check(path, specifier)).toEqual([]);
  });

  it.each([
    ["packages/trainer/src/a.ts", "@millrace/kernels-cpu", "may not import"],
    ["packages/trainer/src/a.ts", "@millrace/runtime/internal", "may not import"],
    ["packages/trainer/src/a.test.ts", "@millrace/cli", "may not import"],
    ["packages/trainer/src/a.ts", "vitest", "not in the"],
    ["packages/trainer/src/a.ts", "lodash/fp", '"lodash"'],
    ["packages/trainer/src/a.ts", "../../graph/src/op.ts", "leaves"],
    ["packages/trainer/src/a.ts", "node:fs", "outside Node"],
    ["packages/trainer/src/a.ts", "@millrace/trainer", "this package"],
  ])("reports %s importing %s", (path, specifier, message) => {
    expect(check(path, specifier)).toEqual([expect.stringContaining(message)]);
  });

  it("reports a manifest that depends on a layer above", () => {
    const graph = { name: "@millrace/graph", dependencies: { "@millrace/cli": "*", other: "1" } };
    expect(checkManifest("p", graph, { source: [], tests: [], node: false })).toHaveLength(1);
    expect(checkManifest("p", manifest, allowed)).toEqual([]);
  });
});

describe("findCycles", () => {
  const file = (path: string, ...imports: string[]) =>
    readSource(path, imports.map((to) => `import { x } from "${to}";`).join("\n"));

  it("finds a circle of three and a file that imports itself", () => {
    const cycles = findCycles([
      file("p/a.ts", "./b.ts"),
      file("p/b.ts", "./deep/c.ts", "./d.ts"),
      file("p/deep/c.ts", "../a.ts"),
      file("p/d.ts", "./d.ts"),
    ]);
    expect(cycles).toHaveLength(2);
    expect(new Set(cycles.map((cycle) => cycle.length))).toEqual(new Set([2, 4]));
  });

  it("accepts a diamond, and a circle of which one side is types only", () => {
    const diamond = [
      file("p/a.ts", "./b.ts", "./c.ts"),
      file("p/b.ts", "./d.ts"),
      file("p/c.ts", "./d.ts"),
    ];
    expect(findCycles([...diamond, file("p/d.ts")])).toEqual([]);
    const back = readSource("p/d.ts", 'import type { A } from "./a.ts";');
    expect(findCycles([...diamond, back])).toEqual([]);
  });
});

describe("rules on single files", () => {
  it("reports names that say nothing and stray index files", () => {
    const bad = ["packages/graph/src/utils.ts", "packages/graph/src/fuse/index.ts", "a/types.ts"];
    expect(checkFileNames(bad)).toHaveLength(bad.length);
    expect(checkFileNames(["packages/graph/src/index.ts", "a/storage-types.ts"])).toEqual([]);
  });

  it("reports plain errors outside errors.ts, tests and comments", () => {
    const text = 'throw new Error("x");';
    expect(checkThrownErrors([readSource("p/src/a.ts", text)])).toHaveLength(1);
    expect(checkThrownErrors([readSource("p/src/a.ts", "throw new TypeError();")])).toHaveLength(1);
    expect(checkThrownErrors([readSource("p/src/a.ts", `// ${text}`)])).toEqual([]);
    expect(checkThrownErrors([readSource("p/src/a.test.ts", text)])).toEqual([]);
    expect(checkThrownErrors([readSource("p/src/errors.ts", text)])).toEqual([]);
    expect(checkThrownErrors([readSource("p/src/a.ts", "throw new ShapeError({});")])).toEqual([]);
  });
});

describe("checkDocument", () => {
  const files = new Map([
    ["docs/a.md", "# First part\n"],
    ["packages/graph/src/op.ts", ""],
  ]);
  const tree: Tree = { exists: (path) => files.has(path), read: (path) => files.get(path)! };
  const check = (text: string): string[] => checkDocument("docs/here.md", text, tree);

  it("accepts live links, live paths, placeholders, addresses and code", () => {
    const text = [
      "[a](a.md), [part](a.md#first-part), [op](../packages/graph/src/op.ts)",
      "`packages/graph/src/op.ts`, `packages/graph/src/op.ts:12`, `packages/<name>/src`, `src/x.ts`",
      "[out](https://example.org/x), `[not](a-link.md)`",
      "```sh",
      "cat `packages/none.ts` [x](none.md)",
      "```",
    ].join("\n");
    expect(check(text)).toEqual([]);
  });

  it.each([
    ["[a](b.md)", "does not exist"],
    ["[a](a.md#second)", "heading"],
    ["[a](../../x.md)", "outside"],
    ["see `packages/graph/src/gone.ts`", "does not exist"],
    ["[one](a.md) and `docs/none.md`", "`docs/none.md`"],
  ])("reports %s", (text, message) => {
    expect(check(`\n${text}`)).toEqual([expect.stringContaining(message)]);
    expect(check(`\n${text}`)[0]).toMatch(/^docs\/here\.md:2:/);
  });
});

describe("checkLock", () => {
  it("reports an address and accepts links and entries without one", () => {
    const address = { resolved: "https://example.org/a.tgz" };
    expect(checkLock({ packages: { "node_modules/a": address } })).toHaveLength(1);
    const link = { resolved: "packages/graph", link: true };
    expect(checkLock({ packages: { "node_modules/g": link, "node_modules/b": {} } })).toEqual([]);
  });
});
