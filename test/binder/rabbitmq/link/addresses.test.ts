import { describe, expect, it } from 'vitest'
// oxlint-disable-next-line no-restricted-imports -- pure inside of the adapter
import { inTurn } from '../../../../binder/rabbitmq/link/addresses.ts'
// oxlint-disable-next-line no-restricted-imports -- pure inside of the adapter
import type { AmqpConnection } from '../../../../binder/rabbitmq/link/amqplib-types.ts'

const NODES = ['a', 'b', 'c']

/** Nodes that answer or refuse. @param silentMs time until a refusal */
function setup({ first = 0, silentMs = 0 } = {}) {
  const tried: string[] = []
  const dead = new Set<string>()
  let now = 0
  const open = async (address: string): Promise<AmqpConnection> => {
    tried.push(address)
    if (!dead.has(address)) return { address } as unknown as AmqpConnection
    now += silentMs
    throw new Error(`${address} is dead`)
  }
  const connect = inTurn(NODES, open, { timeoutMs: 5_000, now: () => now, random: () => first / NODES.length })
  return { connect, tried, dead }
}

describe('the nodes of a RabbitMQ cluster', () => {
  it('are begun with by chance, and taken in turn by one connection after the other', async () => {
    const { connect, tried } = setup({ first: 1 })
    for (let n = 0; n < 4; n++) await connect('x')
    expect(tried).toEqual(['b', 'c', 'a', 'b'])
  })

  it('are passed over at once when they refuse', async () => {
    const { connect, tried, dead } = setup()
    dead.add('a').add('b')
    await expect(connect('x')).resolves.toEqual({ address: 'c' })
    expect(tried).toEqual(['a', 'b', 'c'])
  })

  it('are all tried before the attempt fails, with the error of the last one', async () => {
    const { connect, tried, dead } = setup()
    for (const node of NODES) dead.add(node)
    await expect(connect('x')).rejects.toThrow('c is dead')
    expect(tried).toEqual(NODES)
  })

  it('leave the others to the next attempt when one was silent for all of its time', async () => {
    const { connect, tried, dead } = setup({ silentMs: 5_000 })
    dead.add('a')
    await expect(connect('x')).rejects.toThrow('a is dead')
    await expect(connect('x')).resolves.toEqual({ address: 'b' })
    expect(tried).toEqual(['a', 'b'])
  })
})
