import { setTimeout as sleep } from 'node:timers/promises'
import type { Random } from '../harness/random.ts'
import type { FaultSpec } from '../harness/suite.ts'
import type { Lingerer, Site } from './site.ts'

export interface BinderFault extends FaultSpec {
  /** Plays it while messages flow. @returns how one sees that it happened */
  play(site: Site, random: Random): Promise<string | undefined>
}

/** Waits for another process to handle the message to its end. @returns that process */
export async function doneByAnother(site: Site, lingerer: Lingerer, withinMs: number): Promise<string | undefined> {
  const deadline = performance.now() + withinMs
  while (performance.now() < deadline) {
    const other = site.ledger.handlersOf(lingerer).find((name) => name !== lingerer.member.name)
    if (other !== undefined) return other
    await sleep(100)
  }
  return undefined
}
