import { SimulationFailed, type SimulationOptions, simulate } from '@concordat/simulator'

/** @throws Error when it holds, or rejects with something else */
export async function failureOf(options: SimulationOptions): Promise<SimulationFailed> {
  const failure = await simulate(options).catch((error: unknown) => error)
  if (failure instanceof SimulationFailed) return failure
  throw new Error('it did not fail', { cause: failure })
}

/** A system that is idle for a second, to which a test adds its behaviour. */
export const IDLE: SimulationOptions = {
  seeds: 2,
  services: { shop: { instances: 1, start: () => {} } },
  workload: ({ sleep }) => sleep(1_000),
  invariants: { none: () => {} },
}
