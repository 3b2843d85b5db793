import type { SimulatedWorld } from '@concordat/simulator'

/** As a client does it: until it has an answer. What it asks for must be the same when it is asked for twice. */
export async function persist<T>(world: SimulatedWorld, ask: () => Promise<T>): Promise<T> {
  for (;;) {
    try {
      return await ask()
    } catch (error) {
      world.note(`asks again: ${error instanceof Error ? error.message : String(error)}`)
      await world.sleep(200)
    }
  }
}
