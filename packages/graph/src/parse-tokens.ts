/**
 * Reads the text forms token by token. In: text. Out: names, numbers, types and attribute values, or an InputError with
 * line and column. Knows the pieces that `text.ts` writes; graphs, kernels and programs are put together in `parse.ts`.
 */
import type { DType } from "./dtype.ts";
import { isDType } from "./dtype.ts";
import { InputError, MillraceError } from "./errors.ts";
import type { HostTensor } from "./host-tensor.ts";
import { elementCount, hostTensor } from "./host-tensor.ts";
import type { Attribute } from "./op.ts";
import type { Dim, Shape, SizeSymbol, TensorType } from "./shape.ts";
import { parseDim, size } from "./shape.ts";
import { decodeBase64, elementsFromBytes } from "./text.ts";

export interface Token {
  readonly kind: "name" | "string" | "number" | "symbol" | "trail" | "end";
  /** As written; a string without its quotes, a trail without its slashes. */
  readonly text: string;
  readonly offset: number;
}

const pattern =
  /(?<space>\s+)|\/\/(?<trail>[^\r\n\u2028\u2029]*)|(?<string>"(?:[^"\\\r\n]|\\.)*")|(?<name>[A-Za-z_][A-Za-z0-9_.]*)|(?<number>\d+(?:\.\d+)?(?:e[+-]?\d+)?u?)|(?<symbol>[%$]\d+(?:\.\d+)?|<<|>>|==|!=|<=|>=|\.\.|[-+*/%&^|<>=,:(){}[\]])/uy;

/** Nesting beyond this is refused, so that no text can overflow the stack. */
const deepest = 1000;

export class TextReader {
  readonly sizes: Map<string, SizeSymbol> = new Map();
  readonly #text: string;
  readonly #tokens: Token[] = [];
  #at = 0;
  #depth = 0;

  constructor(text: string) {
    this.#text = text;
    let offset = 0;
    while (offset < text.length) {
      pattern.lastIndex = offset;
      const groups = pattern.exec(text)?.groups;
      if (!groups) this.fail(`unexpected character ${JSON.stringify(text[offset])}`, offset);
      const [kind, found] = Object.entries(groups).find(([, value]) => value !== undefined)!;
      if (kind === "string")
        this.#tokens.push({ kind, text: this.#unquote(found, offset), offset });
      else if (kind === "trail") {
        const path = found.trim();
        const plain = path.startsWith('"') ? this.#unquote(path, offset) : path;
        this.#tokens.push({ kind, text: plain, offset });
      } else if (kind !== "space")
        this.#tokens.push({ kind: kind as Token["kind"], text: found, offset });
      offset = pattern.lastIndex;
    }
    this.#tokens.push({ kind: "end", text: "end of text", offset });
  }

  #unquote(quoted: string, offset: number): string {
    try {
      const value: unknown = JSON.parse(quoted);
      if (typeof value === "string") return value;
    } catch {
      // Falls through to the error below, which knows the place.
    }
    return this.fail("malformed string", offset);
  }

  /** Throws with line and column, by default of the next token. */
  fail(what: string, offset: number = this.next.offset): never {
    const before = this.#text.slice(0, offset).split("\n");
    throw new InputError({
      what,
      where: `line ${before.length}, column ${before.at(-1)!.length + 1}`,
      hint: "Give the text as print wrote it.",
    });
  }

  get next(): Token {
    return this.#tokens[this.#at]!;
  }

  take(): Token {
    const token = this.next;
    if (token.kind !== "end") this.#at++;
    return token;
  }

  #expected(what: string): never {
    return this.fail(`expected ${what}, found ${JSON.stringify(this.next.text)}`);
  }

  /** True if the next token is this symbol or bare word; then it is taken. */
  accept(text: string): boolean {
    if (!this.sees(text)) return false;
    this.#at++;
    return true;
  }

  sees(text: string): boolean {
    const { kind, text: found } = this.next;
    return (kind === "symbol" || kind === "name") && found === text;
  }

  expect(text: string): void {
    if (!this.accept(text)) this.#expected(`"${text}"`);
  }

  /** A name, bare or quoted. */
  name(): string {
    if (this.next.kind !== "name" && this.next.kind !== "string") this.#expected("a name");
    return this.take().text;
  }

  /** One of some words. */
  word<W extends string>(words: readonly W[]): W {
    const word = words.find((candidate) => this.next.kind === "name" && this.sees(candidate));
    if (!word) return this.#expected(words.join(" or "));
    this.#at++;
    return word;
  }

  /** A number with its sign, `inf` and `nan` included. */
  number(): number {
    const negative = this.accept("-");
    const token = this.take();
    const value = token.text === "inf" ? Infinity : token.text === "nan" ? NaN : Number(token.text);
    const isNumber = token.kind === "number" && !token.text.endsWith("u");
    const isWord = token.kind === "name" && (token.text === "inf" || token.text === "nan");
    if (!isNumber && !isWord)
      this.fail(`expected a number, found ${JSON.stringify(token.text)}`, token.offset);
    return negative ? -value : value;
  }

  /** A non-negative integer. */
  count(): number {
    const { offset } = this.next;
    const value = this.number();
    if (!Number.isSafeInteger(value) || value < 0) this.fail("expected a whole number", offset);
    return value;
  }

  /** `%3` (output 0) or `%3.1`, or `$3`. */
  reference(sigil: "%" | "$"): { readonly node: number; readonly output: number } {
    const token = this.next;
    const match = token.kind === "symbol" && /^([%$])(\d+)(?:\.(\d+))?$/.exec(token.text);
    if (!match || match[1] !== sigil) this.#expected(`a reference such as ${sigil}3`);
    this.#at++;
    const [, , node, output] = match as unknown as readonly string[];
    return { node: Number(node), output: Number(output ?? 0) };
  }

  /** The trailing path, empty if there is none. */
  trail(): string {
    return this.next.kind === "trail" ? this.take().text : "";
  }

  /** Items separated by commas up to `close`, which is taken. */
  list<T>(close: string, item: () => T): T[] {
    const items: T[] = [];
    if (this.accept(close)) return items;
    do items.push(item());
    while (this.accept(","));
    this.expect(close);
    return items;
  }

  /** Runs `body` one level deeper. */
  nested<T>(body: () => T): T {
    if (++this.#depth > deepest) this.fail(`nested more than ${deepest} levels deep`);
    const result = body();
    this.#depth--;
    return result;
  }

  /** Runs `body`; errors of other functions get this place. */
  located<T>(body: () => T, offset: number = this.next.offset): T {
    try {
      return body();
    } catch (error) {
      if (!(error instanceof MillraceError) || error instanceof InputError) throw error;
      return this.fail(error.details.what, offset);
    }
  }

  /** All `size T in 1..8` lines that follow. */
  sizeLines(): SizeSymbol[] {
    const declared: SizeSymbol[] = [];
    while (this.accept("size")) {
      const { offset } = this.next;
      const name = this.name();
      this.expect("in");
      const min = this.number();
      this.expect("..");
      const max = this.number();
      const symbol = this.located(() => size(name, min, max), offset).terms[0]!.symbols[0]!;
      if (this.sizes.has(name)) this.fail(`size "${name}" is declared twice`, offset);
      this.sizes.set(name, symbol);
      declared.push(symbol);
    }
    return declared;
  }

  /** A size such as `2*T+1`. */
  dim(): Dim {
    return this.located(() => {
      let text = this.accept("-") ? "-" : "";
      do {
        if (this.next.kind !== "name" && this.next.kind !== "number") this.#expected("a size");
        text += this.take().text;
      } while (
        ["*", "+", "-"].some((symbol) => this.sees(symbol)) &&
        (text += this.take().text) !== ""
      );
      return parseDim(text, this.sizes);
    });
  }

  /** `[T, 64]`. */
  shape(): Shape {
    this.expect("[");
    return this.list("]", () => this.dim());
  }

  dtype(): DType {
    if (!isDType(this.next.text)) this.#expected("a dtype");
    return this.take().text as DType;
  }

  /** `f32[T, 64]`. */
  type(): TensorType {
    return { dtype: this.dtype(), shape: this.shape() };
  }

  /** The elements of a constant of `type`. */
  elements({ dtype, shape }: TensorType): HostTensor {
    const { offset } = this.next;
    const sizes = shape.map((dim) =>
      typeof dim === "number" ? dim : this.fail("a constant has numbers as sizes", offset),
    );
    const count = elementCount(sizes);
    if (this.accept("base64")) {
      if (this.next.kind !== "string") this.#expected("a quoted string");
      const bytes = decodeBase64(this.take().text);
      const data = bytes && elementsFromBytes(dtype, bytes);
      if (data?.length !== count) this.fail(`expected base64 of ${count} elements`, offset);
      return { dtype, shape: sizes, data };
    }
    this.expect("[");
    const values = this.list("]", () => this.number());
    if (values.length !== count)
      this.fail(`expected ${count} elements, found ${values.length}`, offset);
    if (dtype === "i64" && !values.every(Number.isInteger)) this.fail("expected integers", offset);
    return hostTensor(dtype, sizes, values);
  }

  /** A value of an attribute. */
  attribute(): Attribute {
    return this.nested((): Attribute => {
      if (this.next.kind === "string") return this.take().text;
      if (this.accept("true")) return true;
      if (this.accept("false")) return false;
      if (this.accept("null")) return null;
      if (this.accept("[")) return this.list("]", () => this.attribute());
      if (this.sees("{")) return this.attributes();
      if (this.accept("size")) {
        this.expect("(");
        const dim = this.dim();
        this.expect(")");
        return dim;
      }
      return this.number();
    });
  }

  /** `{axis: 0, name: "x"}`. */
  attributes(): { readonly [key: string]: Attribute } {
    this.expect("{");
    const entry = (): [string, Attribute] => {
      const key = this.name();
      this.expect(":");
      return [key, this.attribute()];
    };
    return Object.fromEntries(this.list("}", entry));
  }
}
