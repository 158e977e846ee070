/**
 * Lines of WGSL with their indentation, and the values named so far. In: statements in order. Out: text. A pure expression that is
 * named once in a block, or in one around it, keeps that name when it occurs again.
 */
export class Writer {
  readonly #lines: string[] = [];
  readonly #known: Map<string, string>[] = [new Map()];

  line(text: string): void {
    const indent = "  ".repeat(this.#known.length);
    for (const part of text.split("\n")) this.#lines.push(part === "" ? "" : indent + part);
  }

  /** `head {`, what `body` writes, `}`. */
  block(head: string, body: () => void): void {
    this.line(`${head} {`);
    this.#known.push(new Map());
    body();
    this.#known.pop();
    this.line("}");
  }

  /** `if` with two branches. */
  branch(condition: string, whenTrue: () => void, whenFalse: () => void): void {
    this.block(`if (${condition})`, whenTrue);
    const closing = this.#lines.pop()!;
    this.block(`${closing.trim()} else`, whenFalse);
  }

  /** The name under which a pure expression is known here. */
  known(text: string): string | undefined {
    return this.#known.findLast((scope) => scope.has(text))?.get(text);
  }

  /** Notes that `name` holds a pure expression from here to the end of the block. */
  remember(text: string, name: string): void {
    this.#known.at(-1)!.set(text, name);
  }

  get text(): string {
    return this.#lines.join("\n");
  }
}
