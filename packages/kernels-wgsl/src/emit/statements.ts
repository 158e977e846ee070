/**
 * Statements of the kernel language as WGSL. In: blocks. Out: lines. Invocations work alone ("each"); as a workgroup that runs every
 * statement together, the first of them storing, with reductions and parallel loops divided among them ("group"); or together
 * inside a loop of fixed order, where nothing is divided ("together").
 */
import type { Range, Statement } from "@millrace/graph";
import { InternalError, visitExpr } from "@millrace/graph";
import type { Expr } from "@millrace/graph";
import { Memories } from "../configure/accesses.ts";
import type { Segment } from "../configure/configure.ts";
import { withoutContract } from "../configure/grid.ts";
import { perWord } from "./bindings.ts";
import type { Expressions } from "./expressions.ts";
import { emitReduce, emitSharedReduce } from "./reduce.ts";
import type { Value } from "./values.ts";
import { named } from "./values.ts";

type Level = "each" | "group" | "together";

/** Words being filled by this invocation: the loop over its elements is around them. */
interface OwnedWords {
  readonly axis: Value;
  readonly end: string;
  /** Variable that holds the word, by name of the binding. */
  readonly words: ReadonlyMap<string, string>;
}

/** Elements side by side along an axis. */
interface Neighbours {
  readonly axis: string;
  readonly first: string;
  readonly count: number;
  readonly end: string;
}

export class StatementEmitter {
  readonly x: Expressions;
  readonly #shared: string[] = [];
  readonly #stages = new Map<string, { readonly name: string; readonly vectors: number }>();
  readonly #agreed = new Set<string>();
  readonly workgroup: number;
  readonly #segment: Segment;
  /** Memories that the block both reads and stores to. */
  readonly #hazards: ReadonlySet<number>;
  readonly #memories: Memories;
  #level: Level;
  #owned: OwnedWords | undefined;

  constructor(x: Expressions, segment: Segment) {
    this.x = x;
    this.workgroup = segment.workgroup;
    this.#segment = segment;
    this.#level = segment.form.kind === "group" ? "group" : "each";
    const sharing = x.parts.storages.map(({ binding }) => binding.members[0]!);
    this.#memories = new Memories(x.parts.kernel, sharing);
    const accesses = this.#memories.accesses(segment.body);
    const stored = new Set(accesses.flatMap(({ memory, store }) => (store ? [memory] : [])));
    const read = new Set(accesses.flatMap(({ memory, store }) => (store ? [] : [memory])));
    this.#hazards = stored.intersection(read);
  }

  /**
   * A number of iterations. A software driver takes seconds for a loop that its compiler unrolls, so there the number is
   * hidden from it.
   */
  rolled(count: number): string {
    const { library, capabilities } = this.x.parts;
    if (!capabilities.rolled) return String(count);
    library.use("exact");
    return `(${count} + sizes[0].x)`;
  }

  /** Memory shared by the workgroup. */
  share(name: string, type: string): string {
    const fresh = this.x.parts.names.fresh(name);
    this.#shared.push(`var<workgroup> ${fresh}: ${type};`);
    return fresh;
  }

  /** Workgroup memory for a slice of an operand, which all products of a kernel use in turn. */
  stage(side: "lhs" | "rhs", vectors: number): string {
    const known = this.#stages.get(side);
    const name = known?.name ?? this.x.parts.names.fresh(`${side}_tile`);
    this.#stages.set(side, { name, vectors: Math.max(vectors, known?.vectors ?? 0) });
    return name;
  }

  /** Declarations in workgroup memory. */
  get shared(): readonly string[] {
    return [
      ...this.#shared,
      ...Array.from(
        this.#stages.values(),
        ({ name, vectors }) => `var<workgroup> ${name}: array<vec4<f32>, ${vectors}>;`,
      ),
    ];
  }

  /** Binds a name to a value that all invocations of the workgroup then have in common. */
  bindAgreed(name: string, value: Value, from: Expr): void {
    this.x.bind(name, named(this.uniform(value, from), value.type));
    this.#agreed.add(name);
  }

  /** Whether all invocations of a workgroup compute the same, and the device's compiler sees that. */
  isAgreed(expr: Expr): boolean {
    let agreed = true;
    visitExpr(expr, (part) => {
      agreed &&= part.kind !== "load" && (part.kind !== "local" || this.#agreed.has(part.name));
    });
    return agreed;
  }

  /** Of so many neighbouring invocations, how many can exchange values without workgroup memory. */
  exchangeWidth(most: number): number {
    const { subgroupSize } = this.x.parts.capabilities;
    return subgroupSize > 1 ? Math.min(subgroupSize, most) : 1;
  }

  /** The sum of a value over `width` neighbouring invocations, in a fixed order, which each of them gets. */
  exchangeSum(value: string, width: number): string {
    let sum = value;
    for (let distance = width / 2; distance >= 1; distance /= 2)
      sum = this.x.define("total", `${sum} + ${this.exchange(sum, distance)}`);
    return sum;
  }

  /** The value of the invocation whose number differs in one bit. */
  exchange(value: string, distance: number): string {
    this.x.parts.extensions.add("subgroups");
    return `subgroupShuffleXor(${value}, ${distance}u)`;
  }

  #at(level: Level, body: () => void): void {
    const outer = this.#level;
    this.#level = level;
    body();
    this.#level = outer;
  }

  /**
   * The value as text. Where the workgroup must agree on it, because it decides on a barrier, the first invocation's is given to
   * all: what is loaded counts as different for each.
   */
  uniform(value: Value, ...from: readonly Expr[]): string {
    const { writer } = this.x;
    const agreed = from.every((expr) => this.isAgreed(expr));
    if (agreed || this.#segment.form.kind === "each") return value.text;
    const shared = this.share("agreed", value.type);
    writer.line(`if (lane == 0u) { ${shared} = ${value.text}; }`);
    const fresh = this.x.parts.names.fresh("agreed");
    writer.line(`let ${fresh} = workgroupUniformLoad(&${shared});`);
    return fresh;
  }

  /** Condition that an axis lies between its bounds. */
  withinRange(range: Range): string {
    const { x } = this;
    const { start, end } = range;
    const axis = x.value({ kind: "axis", type: "i32", name: range.axis, extent: range.extent });
    const tests = [
      start && `${x.hold(x.value(start)).text} <= ${axis.text}`,
      end && `${axis.text} < ${x.hold(x.value(end)).text}`,
    ].filter((test) => test !== undefined);
    const value: Value = {
      text: tests.map((test) => `(${test})`).join(" && "),
      type: "bool",
      atom: false,
    };
    return this.uniform(value, ...[start, end].filter((bound) => bound !== undefined));
  }

  /** Runs `body` for the elements of this invocation, whose narrow results fill whole words. */
  elements(range: Range, group: Value, count: number, body: () => void): void {
    const { x } = this;
    const text = `${group.text} * ${count}`;
    const first = x.hold({ ...group, text, atom: false }, "first").text;
    const end = x.extent(range.extent, range.axis).text;
    this.neighbours({ axis: range.axis, first, count, end }, body);
  }

  /** The same from a given first element on; `body` is given the number of the element among them. */
  neighbours({ axis, first, count, end }: Neighbours, body: (place: string) => void): void {
    const { x } = this;
    const { names } = x.parts;
    const words = new Map<string, string>();
    for (const { binding, store } of new Set(x.parts.storages))
      if (store === "owned") {
        const word = names.fresh("word");
        x.writer.line(`var ${word} = 0u;`);
        words.set(binding.name, word);
      }
    const each = names.fresh(axis);
    const last = names.fresh("end");
    x.writer.line(`let ${last} = min(${first} + ${count}, ${end});`);
    x.writer.block(`for (var ${each} = ${first}; ${each} < ${last}; ${each}++)`, () => {
      const value = named(each, "i32");
      x.bind(axis, value);
      this.#owned = { axis: value, end: last, words };
      body(`${each} - ${first}`);
      this.#owned = undefined;
    });
  }

  /** Emits statements; the names they declare are forgotten afterwards. */
  block(statements: readonly Statement[]): void {
    this.x.scoped(() => {
      for (const statement of statements) this.statement(statement);
    });
  }

  /** Emits a statement; what it names is seen by those that follow. */
  statement(statement: Statement): void {
    const { x } = this;
    const { writer } = x;
    switch (statement.kind) {
      case "let":
        this.#agreed.delete(statement.name);
        x.bind(statement.name, x.hold(x.value(statement.value), statement.name));
        return;
      case "variable": {
        const { type } = statement.value;
        this.#agreed.delete(statement.name);
        const text = x.settled(x.value(statement.value));
        const name = x.parts.names.fresh(statement.name);
        writer.line(`var ${name}: ${type} = ${text};`);
        x.bindVariable(statement.name, name, type);
        return;
      }
      case "assign": {
        const meaning = x.meaning(statement.name);
        if (meaning.kind !== "variable")
          throw new InternalError({
            what: `${statement.name} is assigned, but it is not a variable`,
            where: `kernel ${x.parts.kernel.name}`,
          });
        writer.line(`${meaning.name} = ${x.settled(x.value(statement.value))};`);
        return;
      }
      case "array":
        throw new InternalError({
          what: "an array is declared inside of what one invocation does",
          where: `kernel ${x.parts.kernel.name}`,
        });
      case "store":
        return this.#fenced(statement, () => this.#store(statement));
      case "if":
        return this.#fenced(statement, () => {
          const condition = x.value(statement.condition);
          this.#inside(() =>
            writer.block(`if (${condition.text})`, () => this.block(statement.body)),
          );
        });
      case "reduce":
        if (this.#level === "group") emitSharedReduce(this, statement);
        else emitReduce(this, statement);
        return;
      case "contract":
        return this.statement(withoutContract(statement));
      case "loop":
        return this.#fenced(statement, () => this.#loop(statement));
    }
  }

  /** Nothing inside is divided among the invocations. */
  #inside(body: () => void): void {
    this.#at(this.#level === "each" ? "each" : "together", body);
  }

  /** Stores of a workgroup are seen by all of it, if it reads that memory. */
  #fenced(statement: Statement, body: () => void): void {
    const stored = this.#memories.stored([statement]);
    const fence = this.#level === "group" && !stored.isDisjointFrom(this.#hazards);
    if (fence) this.x.writer.line("storageBarrier();");
    body();
    if (fence) this.x.writer.line("storageBarrier();");
  }

  #loop({ range, order, body }: Statement & { kind: "loop" }): void {
    if (order === "parallel" && this.#level === "group")
      this.#at("each", () =>
        this.loop(range, () => this.block(body), { offset: "i32(lane)", step: this.workgroup }),
      );
    else this.#inside(() => this.loop(range, () => this.block(body)));
  }

  /** A counted loop; with a stride, this invocation's share of it. */
  loop(
    range: Range,
    body: () => void,
    stride?: { readonly offset: string; readonly step: number },
  ): void {
    const { x } = this;
    const [start, end] = this.bounds(range);
    const axis = x.parts.names.fresh(range.axis);
    const first = stride ? (start === "0" ? stride.offset : `${start} + ${stride.offset}`) : start;
    const next = stride ? `${axis} += ${stride.step}` : `${axis}++`;
    x.writer.block(`for (var ${axis} = ${first}; ${axis} < ${end}; ${next})`, () =>
      x.scoped(() => {
        x.bind(range.axis, named(axis, "i32"));
        body();
      }),
    );
  }

  /** Texts of a range's bounds. */
  bounds({ axis: name, extent, start, end }: Range): readonly [string, string] {
    const { x } = this;
    return [
      start ? x.hold(x.value(start)).text : "0",
      end ? x.hold(x.value(end)).text : x.extent(extent, name).text,
    ];
  }

  #store({ buffer, index, value }: Statement & { kind: "store" }): void {
    const { x } = this;
    const { writer } = x;
    const array = x.array(buffer);
    if (array) {
      const text = x.settled(x.value(value));
      writer.line(`${array.name}[${x.offset(buffer, index).text}] = ${text};`);
      return;
    }
    const storage = x.storage(buffer);
    // Encoding rounds by itself.
    const rounded = value.kind === "round" && value.dtype === storage.binding.dtype;
    const stored = x.value(rounded ? value.value : value);
    const at = x.offset(buffer, index);
    const write = (): void => {
      const word = this.#owned?.words.get(storage.binding.name);
      if (word !== undefined) this.#fillWord(storage, word, at, stored);
      else
        for (const line of storage.set(
          at.text,
          storage.binding.dtype === "i64" ? x.hold(stored).text : stored.text,
        ))
          writer.line(line);
    };
    if (this.#level === "each") write();
    else writer.block("if (lane == 0u)", write);
  }

  /** Puts an element into the word; stores the word after its last element. */
  #fillWord(
    storage: Expressions["parts"]["storages"][number],
    word: string,
    at: Value,
    value: Value,
  ): void {
    const { writer } = this.x;
    const { axis, end } = this.#owned!;
    const count = perWord(storage.binding.dtype);
    const [log, bits] = count === 4 ? [2, 3] : [1, 4];
    const within = `(${at.text} & ${count - 1})`;
    writer.line(`${word} |= ${storage.code(value.text)} << (u32${within} << ${bits}u);`);
    writer.block(`if (${within} == ${count - 1} || ${axis.text} + 1 == ${end})`, () => {
      writer.line(storage.setWord(`${at.text} >> ${log}u`, word));
      writer.line(`${word} = 0u;`);
    });
  }
}
