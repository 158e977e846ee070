/**
 * How loaded the experts are. In: the experts that tokens chose. Out: how often each was chosen. Counting is integer
 * arithmetic, so the order of the tokens cannot change it.
 */
import { oneHot, sum, type Tensor } from "@millrace/graph";

/** Counts i32 [groups, E] of each expert among `chosen` i32 [groups, M]. */
export function expertCounts(chosen: Tensor, experts: number): Tensor {
  return sum(oneHot(chosen, experts, "i32"), [1]);
}
