import { Random } from './random.ts'

export interface Planned {
  readonly number: number
  readonly round: number
  readonly fault: string
}

/** Every fault once per round, each round in an order of its own; all of it from the seed. */
export function* plan(seed: number, faults: readonly string[]): Generator<Planned> {
  const order = new Random(`order ${seed}`)
  let number = 0
  for (let round = 1; ; round += 1) {
    for (const fault of order.shuffled(faults)) yield { number: ++number, round, fault }
  }
}

/**
 * Source of an episode's victims and timings: the same beside any other faults, so that one fault can be played alone.
 */
export function randomOf(seed: number, { round, fault }: Pick<Planned, 'round' | 'fault'>): Random {
  return new Random(`${seed} ${round} ${fault}`)
}
