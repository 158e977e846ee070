/**
 * Text from tokens as they come. In: token ids, a few at a time. Out: text that will not change any more, so that a character
 * spread over several tokens appears whole. Put together, the pieces are what decoding all tokens at once gives. Knows of a
 * tokenizer only that unfinished UTF-8 decodes to U+FFFD at the end.
 */
import type { Tokenizer } from "@millrace/model-v3";

/** What is asked of a tokenizer here. */
export type TokenDecoder = Pick<Tokenizer, "decode">;

const replacement = "\uFFFD";
/** A character has at most four bytes, so three bytes at the end may still become one. */
const maxUnfinished = 3;

/** Incremental decoding of one sequence. */
export class Detokenizer {
  readonly #tokenizer: TokenDecoder;
  /** Tokens from the last boundary on: those before `#settled` are context, their text is out. */
  #window: number[] = [];
  #settled = 0;
  /** Text of the window that is out. */
  #written = "";

  constructor(tokenizer: TokenDecoder) {
    this.#tokenizer = tokenizer;
  }

  /** Adds tokens and returns the text that they complete. */
  push(tokens: readonly number[]): string {
    this.#window.push(...tokens);
    const text = this.#tokenizer.decode(this.#window);
    let end = text.length;
    while (end > text.length - maxUnfinished && text[end - 1] === replacement) end--;
    const piece = this.#take(text, end);
    if (end === text.length && text !== "") this.#advance();
    return piece;
  }

  /** The rest: what is unfinished stays U+FFFD. */
  finish(): string {
    const text = this.#tokenizer.decode(this.#window);
    const piece = this.#take(text, text.length);
    this.#window = [];
    this.#settled = 0;
    this.#written = "";
    return piece;
  }

  #take(text: string, end: number): string {
    if (end <= this.#written.length) return "";
    const piece = text.slice(this.#written.length, end);
    this.#written = text.slice(0, end);
    return piece;
  }

  /** All text is out. The newest tokens stay as context: some tokenizers drop a space before the first token. */
  #advance(): void {
    if (this.#settled > 0) {
      const context = this.#window.slice(this.#settled);
      if (context.length > 0) {
        this.#window = context;
        this.#written = this.#tokenizer.decode(context);
      }
    }
    this.#settled = this.#window.length;
  }
}
