import { randomUUID } from 'node:crypto'
import fc from 'fast-check'
import { expect, it } from 'vitest'
import { describeWith, serverUrl } from '../../support/servers/index.ts'
import { until } from '../../support/until.ts'
import { admin, attached, freshDestination, numbered, numbers, Recorder, subscribe } from './kit.ts'
import { anyMessage, plainMessage } from './messages.ts'

describeWith(['rabbitmq'], 'publishing to RabbitMQ', () => {
  const url = serverUrl('rabbitmq') ?? ''

  it('brings every message through unchanged', async () => {
    const transport = attached({ url })
    const destination = freshDestination(url)
    const sent = fc
      .sample(anyMessage, { numRuns: 300, seed: 7 })
      .map((message) => ({ ...message, id: randomUUID(), destination, key: 'k' }))
    await transport.provision([{ name: destination, partitions: 4, groups: ['g'] }])
    expect(await transport.publish(sent)).toEqual(sent.map(() => undefined))
    const recorder = new Recorder()
    await subscribe(transport, destination, recorder)
    await until('all came', () => recorder.got.length >= sent.length)
    expect(recorder.got.map(({ message }) => message)).toEqual(sent)
  })

  it('keeps the order of many open calls', async () => {
    const transport = attached({ url })
    const destination = freshDestination(url)
    await transport.provision([{ name: destination, partitions: 4, groups: ['g'] }])
    const messages = numbered(destination, 2_000, ['a', 'b', 'c', 'd', 'e'])
    const calls = numbers(transport.publishConcurrency).map((i) =>
      transport.publish(messages.slice(i * 250, i * 250 + 250)),
    )
    expect((await Promise.all(calls)).flat().filter((outcome) => outcome !== undefined)).toEqual([])
    const recorder = new Recorder()
    await subscribe(transport, destination, recorder)
    await until('all came', () => recorder.got.length >= 2_000)
    for (const key of ['a', 'b', 'c', 'd', 'e']) {
      const own = recorder.got.filter(({ message }) => message.key === key).map(({ message }) => message.id)
      expect(own).toEqual(messages.filter((message) => message.key === key).map(({ id }) => id))
    }
  })

  it('spreads messages without a key over the partitions', async () => {
    const transport = attached({ url })
    const destination = freshDestination(url)
    await transport.provision([{ name: destination, partitions: 4, groups: ['g'] }])
    await transport.publish(numbered(destination, 8, [null]))
    const counts = await admin(url, (channel) =>
      Promise.all(numbers(4).map(async (p) => (await channel.checkQueue(`${destination}:g:${p}`)).messageCount)),
    )
    expect(counts).toEqual([2, 2, 2, 2])
  })

  it('refuses unroutable messages, and no other', async () => {
    const transport = attached({ url })
    const [nobody, somebody] = [freshDestination(url, []), freshDestination(url)]
    await transport.provision([
      { name: nobody, partitions: 4, groups: [] },
      { name: somebody, partitions: 4, groups: ['g'] },
    ])
    const mixed = numbers(50).map((n) => plainMessage({ id: `m${n}`, destination: n % 2 === 0 ? nobody : somebody }))
    const outcomes = await transport.publish(mixed)
    expect(outcomes.map((outcome) => outcome?.kind)).toEqual(
      mixed.map(({ destination }) => (destination === nobody ? 'unroutable' : undefined)),
    )
    expect(outcomes[0]?.message).toMatch(/no queue gets message m0 .* groups: \[\.\.\.\]/)
    expect(outcomes[0]).toMatchObject({ retryable: false, destination: nobody })
  })

  it('drops an unroutable message with the header of a reply only where no group has to receive it', async () => {
    const transport = attached({ url })
    const [place, requester] = [freshDestination(url), freshDestination(url, [])]
    await transport.provision([
      { name: place, partitions: 1, groups: ['g'] },
      { name: requester, partitions: 1, groups: [] },
    ])
    await admin(url, (channel) => channel.deleteQueue(`${place}:g`))
    const headers = { 'reply-to-request': 'shop-1/2' }
    const outcomes = await transport.publish([
      plainMessage({ destination: place, id: 'a', headers }),
      plainMessage({ destination: requester, id: 'b', headers }),
    ])
    expect(outcomes.map((outcome) => outcome?.kind)).toEqual(['unroutable', undefined])
  })

  it('knows which of two it refused when both have one id', async () => {
    const transport = attached({ url })
    const [nobody, somebody] = [freshDestination(url, []), freshDestination(url)]
    await transport.provision([
      { name: nobody, partitions: 4, groups: [] },
      { name: somebody, partitions: 4, groups: ['g'] },
    ])
    const both = [somebody, nobody].map((destination) => plainMessage({ id: 'same', destination }))
    const outcomes = await transport.publish(both)
    expect(outcomes.map((outcome) => outcome?.kind)).toEqual([undefined, 'unroutable'])
  })

  it('drops them on request', async () => {
    const transport = attached({ url, unroutable: 'accept' })
    const destination = freshDestination(url, [])
    await transport.provision([{ name: destination, partitions: 4, groups: [] }])
    expect(await transport.publish(numbered(destination, 3, ['k']))).toEqual([undefined, undefined, undefined])
    expect(transport.features.refusesUnroutable).not.toBe(true)
  })

  it('refuses too large messages without harm to the others', async () => {
    const transport = attached({ url, maxMessageBytes: 1_000 })
    const destination = freshDestination(url)
    await transport.provision([{ name: destination, partitions: 4, groups: ['g'] }])
    const outcomes = await transport.publish([
      plainMessage({ id: 'a', destination, key: 'k' }),
      plainMessage({ id: 'b', destination, key: 'k', body: new Uint8Array(1_001) }),
      plainMessage({ id: 'c', destination, key: 'k', headers: { big: 'x'.repeat(70_000) } }),
      plainMessage({ id: 'd', destination, key: 'k', contentType: 'x'.repeat(300) }),
      plainMessage({ id: 'e', destination, key: 'k', time: 1e17 }),
      plainMessage({ id: 'f', destination, key: 'k' }),
    ])
    expect(outcomes.map((outcome) => outcome?.kind)).toEqual([
      undefined,
      'too_large',
      'too_large',
      'mismatch',
      'mismatch',
      undefined,
    ])
    expect(outcomes[1]?.message).toContain('maxMessageBytes (1000)')
  })

  it('carries a body of many frames', async () => {
    const transport = attached({ url })
    const destination = freshDestination(url)
    await transport.provision([{ name: destination, partitions: 4, groups: ['g'] }])
    const large = new Uint8Array(3 * 1024 * 1024).map((_, i) => i % 251)
    expect(await transport.publish([plainMessage({ destination, body: large })])).toEqual([undefined])
    const recorder = new Recorder()
    await subscribe(transport, destination, recorder)
    await until('it came', () => recorder.got.length > 0)
    expect(Buffer.compare(recorder.got[0]?.message.body ?? Buffer.alloc(0), large)).toBe(0)
  })

  it('makes a deleted destination again with its groups, and keeps the order', async () => {
    const transport = attached({ url })
    const [gone, other] = [freshDestination(url), freshDestination(url)]
    await transport.provision([
      { name: gone, partitions: 4, groups: ['g'] },
      { name: other, partitions: 4, groups: ['g'] },
    ])
    await transport.publish([plainMessage({ destination: gone, id: 'warm' })])
    await admin(url, (channel) => channel.deleteExchange(gone))
    const mixed = numbers(40).map((n) =>
      plainMessage({ id: `m${n}`, key: 'k', destination: n % 2 === 0 ? gone : other }),
    )
    expect(await transport.publish(mixed)).toEqual(mixed.map(() => undefined))
    const recorder = new Recorder()
    await subscribe(transport, gone, recorder)
    await until('all came', () => new Set(recorder.got.map(({ message }) => message.id)).size >= 21)
    const firsts = [...new Set(recorder.got.map(({ message }) => message.id).filter((id) => id !== 'warm'))]
    expect(firsts).toEqual(numbers(20).map((i) => `m${2 * i}`))
  })

  it('rejects for a destination that was never provisioned, and after close', async () => {
    const transport = attached({ url })
    const [unknown] = await transport.publish([plainMessage({ destination: 'never' })])
    expect(unknown).toMatchObject({ kind: 'unroutable' })
    await transport.close()
    const [late] = await transport.publish([plainMessage()])
    expect(late).toMatchObject({ kind: 'closed', retryable: false })
    expect(await transport.publish([])).toEqual([])
    expect(transport.health()).toEqual({ status: 'down', detail: 'closed' })
  })

  it('gives a nacked message back as refused', async () => {
    const transport = attached({ url, queueArguments: { 'x-max-length': 1, 'x-overflow': 'reject-publish' } })
    const destination = freshDestination(url, ['g'], 1)
    await transport.provision([{ name: destination, partitions: 1, groups: ['g'] }])
    const outcomes = await transport.publish(numbered(destination, 3, ['k']))
    expect(outcomes.map((outcome) => outcome?.kind)).toEqual([undefined, 'refused', 'refused'])
    expect(outcomes[1]?.retryable).toBe(true)
  })
})
