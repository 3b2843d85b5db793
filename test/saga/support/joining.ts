/** Worlds with a second coordinator, that of another process, which joins global transactions of the first. */
import type { Coordinator } from 'concordat/saga/coordinator'
import { afterAll, afterEach, beforeAll } from 'vitest'
import { type HttpWorld, type HttpWorldOptions, openHttpWorld } from './http-world.ts'
import { closeEmbedded, openEmbedded } from './world.ts'

/** Resources closed after each test, the last first. */
export const closing: Array<() => Promise<unknown>> = []

export function closeWorlds(): void {
  beforeAll(openEmbedded, 120_000)
  afterAll(closeEmbedded)
  afterEach(async () => {
    for (const close of closing.splice(0).reverse()) await close()
  })
}

export interface Joining extends HttpWorld {
  /** Coordinator of the other process. */
  readonly other: Coordinator
  /** Begins a transaction with this code, here. */
  begin<T>(id: string, code: () => Promise<T>): Promise<unknown>
}

export async function setupJoining(options: HttpWorldOptions = {}): Promise<Joining> {
  const world = await openHttpWorld(options)
  closing.push(() => world[Symbol.asyncDispose]())
  const other = world.coordinate()
  closing.push(() => other.close())
  await other.run()
  const { coordinator, transfer } = world
  return Object.assign(world, {
    other,
    begin: <T>(id: string, code: () => Promise<T>) => coordinator.globalTransaction(transfer, { id, input: {} }, code),
  })
}
