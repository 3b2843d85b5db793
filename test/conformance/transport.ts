/**
 * THE transport conformance suite: the rules of design section 2 as tests. Every transport passes all of it against a
 * real broker; what differs is a declared feature with a reason, printed at the start.
 */
import { randomUUID } from 'node:crypto'
import { createBinder } from 'concordat/binder'
import type { Transport } from 'concordat/extension'
import { afterAll, beforeAll, describe, it } from 'vitest'
import type { Feature } from '../support/inside/binder.ts'
import { attemptCases } from './transport-attempts.ts'
import { batchCases } from './transport-batch.ts'
import { composeCases } from './transport-compose.ts'
import { delayCases } from './transport-delay.ts'
import { flowCases } from './transport-flow.ts'
import { groupCases } from './transport-groups.ts'
import { lifeCases } from './transport-life.ts'
import { orderCases } from './transport-order.ts'
import { redriveCases } from './transport-redrive.ts'
import { sendCases } from './transport-send.ts'
import { settleCases } from './transport-settle.ts'
import { topologyCases } from './transport-topology.ts'
import { turnCases } from './transport-turns.ts'
import { upstreamCases } from './transport-upstream.ts'

export interface TransportHarness {
  /** Transport with connections of its own to the broker under test. */
  transport(): Transport
  /** Kills the broker (SIGKILL) and starts it again with its data. */
  readonly broker: { kill(): Promise<void>; restart(): Promise<void> }
  /** Names of channels for which what delays them has been made, where that takes its time. @default none */
  readonly delayedNames?: Readonly<Record<Delayed, readonly string[]>>
  close(): Promise<void>
}

/** Tools for a case. */
export interface CaseContext {
  transport(): Transport
  readonly broker: TransportHarness['broker']
  readonly features: Transport['features']
  /** False: the broker is shared, and tests that kill it are left out. */
  readonly killsBroker: boolean
  /** An unused channel name. */
  freshName(): string
  /** The same, for a case that delays messages, or attempts of group `g`, and leaves the broker alone. */
  delayedName(what: Delayed): string
}

export type Delayed = 'messages' | 'attempts'

export interface ConformanceOptions {
  /** Whether the suite kills the broker, which must then be its own. @default true */
  readonly killsBroker?: boolean
}

export function transportConformance(
  name: string,
  setup: () => Promise<TransportHarness>,
  { killsBroker = true }: ConformanceOptions = {},
): void {
  describe(`${name} transport conformance`, () => {
    let harness: TransportHarness | undefined
    const delayedNames = { messages: [] as string[], attempts: [] as string[] }
    const context: CaseContext = {
      killsBroker,
      transport: () => (harness as TransportHarness).transport(),
      broker: {
        kill: () => (harness as TransportHarness).broker.kill(),
        restart: () => (harness as TransportHarness).broker.restart(),
      },
      get features() {
        return (harness as TransportHarness).transport().features
      },
      freshName,
      delayedName: (what) => delayedNames[what].pop() ?? freshName(),
    }

    beforeAll(async () => {
      harness = await setup()
      delayedNames.messages.push(...(harness.delayedNames?.messages ?? []))
      delayedNames.attempts.push(...(harness.delayedNames?.attempts ?? []))
      for (const [feature, value] of Object.entries(context.features) as [string, Feature][]) {
        console.log(`  ${name}: ${feature}: ${value === true ? 'yes' : `no, ${value.missing}`}`)
      }
    })
    afterAll(() => harness?.close())

    settleCases(context)
    attemptCases(context)
    groupCases(context)
    orderCases(context)
    flowCases(context)
    batchCases(context)
    sendCases(context)
    delayCases(context)
    redriveCases(context)
    turnCases(context)
    upstreamCases(context)
    lifeCases(context)
    composeCases(context)
    topologyCases(context)

    it('refuses to work before start and after close', async ({ expect }) => {
      const { createTestChannel } = await import('./transport-kit.ts')
      const channel = createTestChannel(context.freshName())
      const binder = createBinder({ service: 'conformance', transport: context.transport() })
      await expect(binder.send(channel, { key: 'k', n: 1 })).rejects.toMatchObject({ code: 'binder.closed' })
      await binder.start()
      await binder.close()
      await expect(binder.send(channel, { key: 'k', n: 1 })).rejects.toMatchObject({ code: 'binder.closed' })
    })
  })
}

export const freshName = (): string => `t${randomUUID().slice(0, 8)}`
