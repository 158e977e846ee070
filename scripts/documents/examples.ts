// Finds the runnable examples of a Markdown file. In: its text. Out: each block fenced as `ts run` or `sh run`, with the block
// fenced as `text output` that may follow it and that its standard output must equal.

export interface DocumentExample {
  readonly language: "ts" | "sh";
  readonly code: string;
  /** First line of the code in the document, from 1. */
  readonly line: number;
  /** What it must print; undefined where any output will do. */
  readonly output?: string;
  /** Offsets of the output's text in the document. */
  readonly outputAt?: readonly [number, number];
}

const fence = /^```([^\n]*)\n([\s\S]*?)^```$/gm;

export function findExamples(document: string): DocumentExample[] {
  const blocks = [...document.matchAll(fence)].map((match) => ({
    info: match[1]!.trim(),
    body: match[2]!,
    at: match.index,
    bodyAt: match.index + match[1]!.length + 4,
  }));
  return blocks.flatMap((block, i) => {
    const runnable = /^(ts|sh) run$/.exec(block.info);
    if (!runnable) return [];
    const next = blocks[i + 1];
    const expected = next?.info === "text output" ? next : undefined;
    return [
      {
        language: runnable[1] as "ts" | "sh",
        code: block.body,
        line: document.slice(0, block.bodyAt).split("\n").length,
        ...(expected && {
          output: expected.body,
          outputAt: [expected.bodyAt, expected.bodyAt + expected.body.length] as const,
        }),
      },
    ];
  });
}

/** The document with the outputs of its examples replaced. */
export function withOutputs(
  document: string,
  outputs: readonly { readonly at: readonly [number, number]; readonly text: string }[],
): string {
  return outputs
    .toSorted((a, b) => b.at[0] - a.at[0])
    .reduce(
      (text, { at, text: output }) => text.slice(0, at[0]) + output + text.slice(at[1]),
      document,
    );
}
