/**
 * Loss-free balancing. In: a router's bias and the loads of the step just made. Out: the bias of the next step, raised
 * for experts below the mean load and lowered for those above, by a fixed amount. Source: arXiv 2408.15664.
 */
import { add, convert, mean, mul, sign, sub, type Tensor } from "@millrace/graph";

/** `bias` [E] after a step with `load` i32 [E]: b + γ · sign(mean(load) − load). */
export function updatedBias(bias: Tensor, load: Tensor, speed: number): Tensor {
  const loads = convert(load, "f32");
  return add(bias, mul(sign(sub(mean(loads), loads)), speed));
}
