import { Connection } from '@platformatic/kafka'
import { platformaticTransport } from 'concordat/binder/kafka/platformatic'
import { MINUTE, SECOND, silentLogger } from 'concordat/core'
import { describe, it, onTestFinished } from 'vitest'
import { FakeClock } from '../../../../support/locks/fake-clock.ts'
import { ByteWriter } from '../../inside.ts'

interface Place {
  readonly host: string
  readonly port: number
}

/** Answers each request for metadata: these brokers, and the topic `orders`. */
function metadataOf(brokers: readonly Place[]): Buffer {
  const to = new ByteWriter()
  to.int32(0).array([...brokers.entries()], ([id, { host, port }]) => {
    to.int32(id).string(host).int32(port).string(null)
  })
  to.string(null).int32(0)
  to.array(['orders'], (name) => {
    to.int16(0)
      .string(name)
      .boolean(false)
      .array([0], (partition) => {
        to.int16(0).int32(partition).int32(1).int32(0)
        for (let list = 0; list < 3; list++) to.array([], () => {})
      })
  })
  return to.bytes
}

/** A transport with six seeds. Nothing answers a connect to those in `dead`, or a request to those in `frozen`. */
function setup(dead: ReadonlySet<string>, brokers: readonly Place[] = [], frozen: ReadonlySet<string> = new Set()) {
  const clock = new FakeClock()
  const connects: string[] = []
  class Scripted extends Connection {
    #isConnected = false
    #isFrozen = false
    override connect(host: string): Promise<void> {
      connects.push(host)
      this.#isFrozen = frozen.has(host)
      if (dead.has(host)) return new Promise(() => {})
      this.#isConnected = true
      return Promise.resolve()
    }
    override isConnected(): boolean {
      return this.#isConnected
    }
    override close(): Promise<void> {
      this.#isConnected = false
      return Promise.resolve()
    }
    override send(...args: unknown[]): void {
      if (this.#isFrozen) return
      const callback = args.at(-1) as (error: null, answer: readonly Buffer[]) => void
      callback(null, [metadataOf(brokers)])
    }
  }
  const bootstrapBrokers = [1, 2, 3, 4, 5, 6].map((n) => `seed${n}:9092`)
  const transport = platformaticTransport({ kafka: { Connection: Scripted, bootstrapBrokers } })
  transport.attach({ service: 'shop', instance: 'shop-1', logger: silentLogger, clock })
  onTestFinished(() => transport.close())
  const provision = async (withinMs: number): Promise<string> => {
    const asked = transport.provision([{ name: 'orders', partitions: 1, groups: [] }])
    const outcome = asked.then(
      () => 'done',
      (error: Error) => error.message,
    )
    await clock.advance(withinMs)
    return Promise.race([outcome, Promise.resolve('not yet')])
  }
  return { clock, connects, transport, provision }
}

describe('with seeds that never answer a connect', () => {
  it('the transport waits for each of them once, and provisions in one call', async ({ expect }) => {
    const { connects, provision } = setup(new Set(['seed1', 'seed2']))
    expect(await provision(10 * SECOND)).toBe('done')
    expect(connects).toEqual(['seed1', 'seed2', 'seed3'])
  })

  it('the transport asks another one after a call to a seed that connected and did not answer', async ({ expect }) => {
    const { connects, provision } = setup(new Set(), [], new Set(['seed1']))
    expect(await provision(20 * SECOND)).not.toBe('done')
    expect(await provision(1 * SECOND)).toBe('done')
    expect(connects).toEqual(['seed1', 'seed2'])
  })

  it('the transport remembers them after a call that ran out of time', async ({ expect }) => {
    const { connects, provision } = setup(new Set(['seed1', 'seed2', 'seed3']))
    expect(await provision(15 * SECOND)).toContain('creating topics')
    expect(await provision(0)).toBe('done')
    expect(connects).toEqual(['seed1', 'seed2', 'seed3', 'seed4'])
  })

  it('the transport asks a connected broker rather than others that metadata names', async ({ expect }) => {
    const named = ['away1', 'away2', 'seed1'].map((host) => ({ host, port: 9092 }))
    const { connects, provision } = setup(new Set(['away1', 'away2']), named)
    expect(await provision(0)).toBe('done')
    expect(await provision(MINUTE)).toBe('done')
    expect(connects).toEqual(['seed1'])
  })
})
