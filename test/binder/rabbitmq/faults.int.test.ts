import { randomUUID } from 'node:crypto'
import { connect } from 'amqplib'
import { afterAll, expect, it, onTestFailed, onTestFinished } from 'vitest'
import { expectWithin } from '../../support/expect-within.ts'
import type { AmqpConnection } from '../../support/inside/binder.ts'
import { describeWith, type PrivateServer, startServer } from '../../support/servers/index.ts'
import { until } from '../../support/until.ts'
import { attached, cut, numbered, numbers, Recorder, subscribe } from './kit.ts'
import { plainMessage } from './messages.ts'

let shared: PrivateServer | undefined

/** The broker of this file. After a test that failed the next one gets another. */
async function broker(): Promise<PrivateServer> {
  const server = (shared ??= await startServer('rabbitmq'))
  onTestFailed(async () => {
    shared = undefined
    await server.stop()
  })
  return server
}
afterAll(() => shared?.stop())

/** Names a destination that no other test uses, since the broker keeps their messages. */
function place() {
  const destination = `faults-${randomUUID().slice(0, 8)}`
  return { destination, spec: { name: destination, partitions: 4, groups: ['g'] } }
}

describeWith(['rabbitmq'], 'RabbitMQ in trouble', { private: true }, () => {
  it('loses a subscription once when it is killed, keeps every message and continues when it is back', async () => {
    const server = await broker()
    const { destination, spec } = place()
    const transport = attached({ url: server.url }, 1_500)
    await transport.provision([spec])
    expect(await transport.publish(numbered(destination, 5, ['k']))).toEqual(numbers(5).map(() => undefined))
    const keeping = Recorder.keeping()
    await subscribe(transport, destination, keeping)
    await until('all came', () => keeping.got.length >= 5)

    await server.kill()
    await until('it is lost', () => keeping.losses.length > 0)
    expect(keeping.losses).toHaveLength(1)
    await server.start()
    const recorder = new Recorder()
    await subscribe(transport, destination, recorder)
    await until('all came again', () => recorder.got.length >= 5)
    expect(recorder.numbers).toEqual(numbers(5))
    expect(await transport.publish([plainMessage({ destination })])).toEqual([undefined])
  })

  it('keeps messages confirmed by a quorum queue, also when it is killed right after', async () => {
    const server = await broker()
    const { destination, spec } = place()
    const transport = attached({ url: server.url, queueType: 'quorum' })
    await transport.provision([spec])
    expect(await transport.publish(numbered(destination, 50, ['k']))).toEqual(numbers(50).map(() => undefined))
    await server.kill()
    await server.start()
    const recorder = new Recorder()
    await until('a subscription works', () =>
      subscribe(transport, destination, recorder).then(
        () => true,
        () => false,
      ),
    )
    await until('all came', () => recorder.got.length >= 50)
    expect([...new Set(recorder.numbers)]).toEqual(numbers(50))
  })

  it('refuses messages when an alarm outlasts the deadline, and does everything else', async () => {
    const server = await startServer('rabbitmq', { settings: { 'vm_memory_high_watermark.absolute': '10MB' } })
    onTestFinished(() => server.stop())
    const { destination, spec } = place()
    const transport = attached({ url: server.url }, 1_000)
    await transport.provision([spec])
    const outcomes = await transport.publish(numbered(destination, 3, ['k']))
    // RabbitMQ blocks a connection at its first message, which stays in the socket.
    expect(outcomes.map((outcome) => outcome?.kind)).toEqual(['timeout', 'refused', 'refused'])
    expect(outcomes[0]?.message).toMatch(/takes no messages \(low on memory\)/)
    expect(outcomes[0]?.retryable).toBe(true)
    const recorder = new Recorder()
    const subscription = await subscribe(transport, destination, recorder)
    await transport.provision([spec])
    await subscription.close()
    expect(recorder.losses).toEqual([])
    expect(transport.health().status).toBe('up')
  })

  it('notices a frozen broker, gives bounded answers and continues when it thaws', { timeout: 120_000 }, async () => {
    const server = await broker()
    const { destination, spec } = place()
    const transport = attached(
      { url: `${server.url}?heartbeat=1`, connectTimeoutMs: 1_000, requestTimeoutMs: 1_000 },
      1_500,
    )
    await transport.provision([spec])
    await transport.publish([plainMessage({ destination, id: 'before' })])
    const recorder = new Recorder()
    await subscribe(transport, destination, recorder)
    await until('it came', () => recorder.got.length > 0)
    server.pause()
    try {
      const [frozen] = await transport.publish([plainMessage({ destination, id: 'frozen' })])
      expect(['timeout', 'unavailable']).toContain(frozen?.kind)
      await until('the subscription is lost', () => recorder.losses.length > 0, 15_000)
      expect(recorder.losses).toHaveLength(1)
      await expect(transport.provision([spec])).rejects.toMatchObject({ kind: 'timeout', retryable: true })
      expect(transport.health().status).toBe('down')
      const other = attached({ url: server.url, connectTimeoutMs: 500 }, 700)
      const [unreached] = await other.publish([plainMessage({ destination })])
      expect(unreached?.kind).toBe('unavailable')
      await other.close()
    } finally {
      server.resume()
    }
    const again = new Recorder()
    await until('a subscription works', () =>
      subscribe(transport, destination, again).then(
        () => true,
        () => false,
      ),
    )
    await until(
      'a publish works',
      async () => (await transport.publish([plainMessage({ destination, id: 'after' })]))[0] === undefined,
    )
    await until('it came', () => again.got.some(({ message }) => message.id === 'after'))
  })

  it('closes in bounded time although the broker is frozen', async () => {
    const server = await broker()
    const { destination, spec } = place()
    const transport = attached({ url: server.url, closeTimeoutMs: 300 })
    await transport.provision([spec])
    await transport.publish([plainMessage({ destination })])
    const recorder = Recorder.keeping()
    const subscription = await subscribe(transport, destination, recorder)
    await until('it came', () => recorder.got.length > 0)
    server.pause()
    try {
      const begun = performance.now()
      await subscription.close()
      await transport.close()
      await expectWithin(performance.now() - begun, 2_000)
    } finally {
      server.resume()
    }
  })

  it('fails unconfirmed messages of a broken connection, and nothing overtakes them', async () => {
    const server = await broker()
    const { destination, spec } = place()
    const connections: AmqpConnection[] = []
    const open = async (name: string): Promise<AmqpConnection> => {
      const connection = await connect(`${server.url}?heartbeat=10`)
      if (name.endsWith('publish')) connections.push(connection)
      return connection
    }
    const transport = attached({ connect: open })
    const recorder = new Recorder()
    await transport.provision([spec])
    await transport.publish([plainMessage({ destination, id: 'warm' })])
    const messages = numbered(destination, 3_000, ['a', 'b', 'c'])
    const calls = numbers(3).map((i) => transport.publish(messages.slice(i * 1_000, i * 1_000 + 1_000)))
    cut(connections[0])
    const fresh = transport.publish([plainMessage({ destination, id: 'fresh', key: 'z' })])
    const outcomes = (await Promise.all(calls)).flat()
    expect(new Set(outcomes.map((outcome) => outcome?.kind))).toEqual(new Set(['unavailable']))
    expect(await fresh).toEqual([undefined])
    expect(connections).toHaveLength(2)
    expect(await transport.publish(messages)).toEqual(messages.map(() => undefined))
    await subscribe(transport, destination, recorder)
    await until('all came', () => new Set(recorder.got.map(({ message }) => message.id)).size >= 3_002)
    for (const key of ['a', 'b', 'c']) {
      const own = recorder.got.filter(({ message }) => message.key === key).map(({ message }) => message.id)
      const last = own.slice(-1_000)
      expect(last).toEqual(messages.filter((message) => message.key === key).map(({ id }) => id))
    }
  })

  it('is healthy again without a message', async () => {
    const server = await broker()
    const { spec } = place()
    const transport = attached({ url: server.url })
    expect(transport.health()).toEqual({ status: 'idle' })
    await transport.provision([spec])
    expect(transport.health()).toEqual({ status: 'up' })
    await server.kill()
    await until('it is known to be down', () => transport.health().status === 'down')
    expect(transport.health().detail).not.toBe('')
    await server.start()
    await until('it is up again', () => transport.health().status === 'up')
  })

  it('waits for a broker that is not up yet', async () => {
    const server = await broker()
    const { destination, spec } = place()
    const transport = attached({ url: server.url }, 60_000)
    await transport.provision([spec])
    await server.kill()
    const waiting = transport.publish(numbered(destination, 10, ['k']))
    await until('it is known to be down', () => transport.health().status === 'down')
    await server.start()
    expect(await waiting).toEqual(numbers(10).map(() => undefined))
    await until('it is up again', () => transport.health().status === 'up')
  })
})
