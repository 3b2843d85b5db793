import { afterAll, afterEach, beforeAll } from 'vitest'
import { closeEmbedded, openEmbedded, setupWorld, type World, type WorldOptions } from './world.ts'

/** Call it once in a file: what it returns starts a world on the file's database, which is closed after its test. */
export function runningWorlds(): (options: WorldOptions) => Promise<World> {
  let world: World | undefined
  beforeAll(openEmbedded, 120_000)
  afterAll(closeEmbedded)
  afterEach(async () => {
    await world?.close()
    world = undefined
  })
  return async (options) => {
    world = await setupWorld(options)
    await world.start()
    return world
  }
}
