/**
 * Where a workgroup of a ragged product is. In: its number among the tiles of all ranges. Out: the range and the tile in it, the same for
 * all its invocations.
 */
import type { Expr } from "@millrace/graph";
import type { Ragged } from "../configure/ragged.ts";
import type { Expressions } from "./expressions.ts";
import type { StatementEmitter } from "./statements.ts";
import type { Value } from "./values.ts";
import { named } from "./values.ts";

/**
 * Finds range and tile of a workgroup among the tiles of all ranges. Range i begins with tile `floor(first row / rows of a tile) + i`,
 * before which there is room for the tiles of those before it; the last range that begins there or before is found by halving.
 */
export function openRagged(
  x: Expressions,
  emitter: StatementEmitter,
  { range, offsets }: Ragged,
  tileRows: number,
  slot: Value,
  body: (tile: Value) => void,
): void {
  const { writer, parts } = x;
  const fresh = (name: string): string => parts.names.fresh(name);
  const number = x.hold(slot, "slot").text;
  const [low, high] = [fresh("low"), fresh("high")];
  const index = (name: string): Expr => ({ kind: "local", type: "i32", name }) satisfies Expr;
  const load: Expr = { kind: "load", type: "i32", buffer: offsets, index: [index("at")] };
  const before = (at: string): string => {
    x.bind("at", named(at, "i32"));
    return `${x.value(load).text} / ${tileRows} + ${at}`;
  };
  writer.line(`var ${low} = 0;`);
  writer.line(`var ${high} = ${x.extent(range.extent, range.axis).text};`);
  writer.block(`while (${low} + 1 < ${high})`, () =>
    x.scoped(() => {
      const middle = x.define("middle", `(${low} + ${high}) / 2`);
      const first = x.define("first", before(middle));
      writer.line(
        `if (${first} <= ${number}) { ${low} = ${middle}; } else { ${high} = ${middle}; }`,
      );
    }),
  );
  x.scoped(() => {
    const found = { ...named(low, "i32"), changing: true };
    const own = emitter.uniform(found, load);
    const first = x.define("first", before(own));
    const tile = emitter.uniform(
      { text: `${number} - (${first})`, type: "i32", atom: false },
      load,
    );
    x.bind(range.axis, named(own, "i32"));
    body(named(tile, "i32"));
  });
}
