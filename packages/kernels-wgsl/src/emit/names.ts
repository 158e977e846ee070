/**
 * Identifiers of one shader. In: names of the kernel language. Out: WGSL identifiers that are no keyword and each occur
 * once, so that a block inside another never hides a name.
 */

/** Short words of the language itself; longer names get an underscore, which no reserved word ends in. */
const taken = new Set([
  "as",
  "do",
  "fn",
  "if",
  "in",
  "is",
  "of",
  "f16",
  "f32",
  "i32",
  "u32",
  "i8",
  "u8",
  "at",
  "lane",
  "own",
]);

export class Names {
  readonly #used = new Map<string, number>();

  /** A new identifier like `name`. */
  fresh(name: string): string {
    const plain = name.replaceAll(/[^A-Za-z0-9_]/g, "_").replace(/^(\d|_+)/, "n$1");
    const short = /^[a-z]{1,2}\d*$/.test(plain) && !taken.has(plain);
    const stem = short ? plain : `${plain.replace(/_+$/, "")}_`;
    const count = this.#used.get(stem) ?? 0;
    this.#used.set(stem, count + 1);
    if (count === 0) return stem;
    const numbered = `${stem}${/\d$/.test(stem) ? "_" : ""}${count}`;
    return this.#used.has(numbered) ? this.fresh(name) : this.#take(numbered);
  }

  #take(name: string): string {
    this.#used.set(name, 1);
    return name;
  }
}
