import { afterAll, afterEach, beforeAll } from 'vitest'
import { closeEmbedded, openEmbedded, setupWorld, type World, type WorldOptions } from './world.ts'

/**
 * Creates the function that makes a world on the file's database, which is closed after its test. Call it once in a
 * file.
 */
export function worlds(): (options: WorldOptions) => Promise<World> {
  const made: World[] = []
  beforeAll(openEmbedded, 120_000)
  afterAll(closeEmbedded)
  afterEach(async () => {
    for (const world of made.splice(0)) await world.close()
  })
  return async (options) => {
    const world = await setupWorld(options)
    made.push(world)
    return world
  }
}

/** The same for worlds that are started. @param create what `worlds` returned in this file */
export function runningWorlds(create = worlds()): (options: WorldOptions) => Promise<World> {
  return async (options) => {
    const world = await create(options)
    await world.start()
    return world
  }
}
