import type { SimulatedWorld } from '@concordat/simulator'

/** Repeats a call as a client does until it has an answer. The call must be the same each time. */
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
