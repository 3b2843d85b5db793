import {
  type Binding,
  type ConsumerOptions,
  createBinder,
  defineChannel,
  type Inbox,
  pollable,
  processor,
  processorBatch,
  sink,
  sinkBatch,
  source,
} from 'concordat/binder'
import { memoryTransport } from 'concordat/memory'
import { describe, expect, it } from 'vitest'
import { z } from 'zod'
import type { BatchSinkOptions, PollableOptions, SourceOptions } from '../../support/inside/binder.ts'

const channel = defineChannel('orders', { payload: z.string() })
const other = defineChannel('other', { payload: z.string() })
const inboxWithoutOutbox: Inbox = { hasOutbox: false, process: async () => 'processed' }

const consumer = (options: unknown): Binding =>
  sink(channel, options as ConsumerOptions & { inbox?: undefined }, () => {})
const make = (options: object): unknown =>
  createBinder({ service: 'test', transport: memoryTransport(), ...options } as Parameters<typeof createBinder>[0])

/** The option, its mistake, and the whole message. */
describe('createBinder refuses', () => {
  it.for([
    [{ service: '' }, 'createBinder.service: expected a name of 1 to 100 characters out of A-Z a-z 0-9 . _ -, got ""'],
    [{ service: 'my service' }, 'createBinder.service: expected a name'],
    [{ instance: '' }, 'createBinder.instance: expected a non-empty string, got ""'],
    [{ transport: {} }, 'createBinder.transport: expected a transport such as memoryTransport(), got {}'],
    [{ transport: undefined }, 'createBinder.transport: expected a transport such as memoryTransport(), got undefined'],
    [{ maxInFlight: 0 }, 'createBinder.maxInFlight: expected a whole number >= 1, got 0'],
    [{ sendTimeoutMs: 0 }, 'createBinder.sendTimeoutMs: expected a whole number >= 1, got 0'],
    [{ drainTimeoutMs: -1 }, 'createBinder.drainTimeoutMs: expected a whole number >= 0, got -1'],
    [{ bindings: [{}] }, 'createBinder.bindings[0]: expected what sink(), processor() or source() returned, got {}'],
  ] as const)('%o', ([options, message]) => {
    expect(() => make(options)).toThrow(message)
  })

  it.for([
    [{ group: 'a b' }, 'sink("orders").group: expected a name of 1 to 100 characters'],
    [{ concurency: 2 }, 'sink("orders").concurency: expected one of group, name, concurrency,'],
    [{ name: '' }, 'sink("orders").name: expected a non-empty string, got ""'],
    [{ concurrency: 0 }, 'sink("orders").concurrency: expected a whole number >= 1 and <= 10000, got 0'],
    [{ maxAttempts: 0 }, 'sink("orders").maxAttempts: expected a whole number >= 1, got 0'],
    [{ maxAttempts: 2.5 }, 'sink("orders").maxAttempts: expected a whole number >= 1, got 2.5'],
    [{ backoff: { factor: 0 } }, 'sink("orders").backoff.factor: expected a number >= 1, got 0'],
    [{ retryable: true }, 'sink("orders").retryable: expected a function, got true'],
    [
      { group: 'g', onFailure: 'retry' },
      `sink("orders").onFailure: expected 'dead-letter', 'drop' or 'halt', got "retry"`,
    ],
    [
      { onFailure: 'dead-letter' },
      `sink("orders").onFailure: expected a group for dead letters, or 'drop' without one`,
    ],
    [{ concurrency: 10, prefetch: 5 }, 'sink("orders").prefetch: expected a whole number >= 10 and <= 65535, got 5'],
    [{ prefetchBytes: 0 }, 'sink("orders").prefetchBytes: expected a whole number >= 1, got 0'],
    [{ group: 'g', inbox: {} }, 'sink("orders").inbox: expected an inbox made by createInbox, got {}'],
    [
      { inbox: inboxWithoutOutbox },
      'sink("orders").group: expected a group, which an inbox needs to know its duplicates',
    ],
  ] as const)('a sink with %o', ([options, message]) => {
    expect(() => make({ bindings: [consumer(options)] })).toThrow(message)
  })

  it.for([
    [
      { rateLimit: { perSecond: 0 } },
      'sink("orders").rateLimit.perSecond: expected a number > 0 and <= 1000000, got 0',
    ],
    [{ rateLimit: { perSecond: 1, burst: 0 } }, 'sink("orders").rateLimit.burst: expected a whole number >= 1'],
    [{ rateLimit: 5 }, 'sink("orders").rateLimit: expected an object of options, got a number'],
    [
      { circuitBreaker: { pauseMs: 5 } },
      'sink("orders").circuitBreaker: expected `failures` (in a row) or `failureRate`',
    ],
    [{ circuitBreaker: { failures: 1 } }, 'sink("orders").circuitBreaker.pauseMs: expected a whole number >= 1'],
    [
      { circuitBreaker: { failureRate: 2, pauseMs: 5 } },
      'sink("orders").circuitBreaker.failureRate: expected a number > 0 and <= 1, got 2',
    ],
    [
      { circuitBreaker: { failures: 1, minimum: 5, pauseMs: 5 } },
      'sink("orders").circuitBreaker.minimum: expected a `failureRate` beside it, got 5',
    ],
    [
      { circuitBreaker: { failures: 1, pauseMs: 5, freeTrials: -1 } },
      'sink("orders").circuitBreaker.freeTrials: expected a whole number >= 0, got -1',
    ],
    [{ circuitBreaker: { failures: 1, pauseMs: 5, counts: true } }, 'sink("orders").circuitBreaker.counts: expected a'],
  ] as const)('a sink with %o', ([options, message]) => {
    expect(() => make({ bindings: [consumer(options)] })).toThrow(message)
  })

  it.for([
    [{ batch: { maxSize: 0 } }, 'sinkBatch("orders").batch.maxSize: expected a whole number >= 1 and <= 10000, got 0'],
    [{ batch: { maxWaitMs: 0 } }, 'sinkBatch("orders").batch.maxWaitMs: expected a whole number >= 1'],
    [{ batch: { maxSize: 50 }, prefetch: 10 }, 'sinkBatch("orders").prefetch: expected a whole number >= 50'],
    [
      { group: 'g', inbox: inboxWithoutOutbox },
      'sinkBatch("orders").inbox: expected an inbox with processBatch, such as createInbox() makes',
    ],
  ] as const)('a batch sink with %o', ([options, message]) => {
    expect(() =>
      make({ bindings: [sinkBatch(channel, options as BatchSinkOptions & { inbox?: undefined }, () => {})] }),
    ).toThrow(message)
  })

  it.for([
    [{}, 'pollable("orders").group: expected a name of 1 to 100 characters'],
    [{ group: 'g', keepMs: -1 }, 'pollable("orders").keepMs: expected a whole number >= 0'],
    [{ group: 'g', concurrency: 2 }, 'pollable("orders").concurrency: expected one of group, name, maxAttempts'],
  ] as const)('a pollable with %o', ([options, message]) => {
    const binding = pollable(channel, options as unknown as PollableOptions & { inbox?: undefined })
    expect(() => make({ bindings: [binding] })).toThrow(message)
  })

  it('a consumer whose handler is not a function', () => {
    const broken = sink(channel, {}, 'handler' as never)
    expect(() => make({ bindings: [broken] })).toThrow('sink("orders") handler: expected a function, got "handler"')
  })

  it('a processor with an inbox that has no outbox', () => {
    const broken = processor(channel, other, { group: 'g', inbox: inboxWithoutOutbox }, (text) => text)
    expect(() => make({ bindings: [broken] })).toThrow('processor("orders").inbox: expected createInbox({ outbox })')
    const inbox: Inbox = { ...inboxWithoutOutbox, processBatch: async () => {} }
    const batch = processorBatch(channel, other, { group: 'g', inbox }, () => {})
    expect(() => make({ bindings: [batch] })).toThrow(
      'processorBatch("orders").inbox: expected createInbox({ outbox })',
    )
  })

  it.for([
    [{}, 'source("orders").everyMs: expected a whole number >= 0 and <= 86400000, got undefined'],
    [{ everyMs: 1.5 }, 'source("orders").everyMs: expected a whole number >= 0 and <= 86400000, got 1.5'],
    [{ everyMs: 1, name: '' }, 'source("orders").name: expected a non-empty string'],
  ] as const)('a source with %o', ([options, message]) => {
    expect(() => make({ bindings: [source(channel, options as SourceOptions, () => 'x')] })).toThrow(message)
  })

  it('two bindings of one name, and two members of one group', () => {
    const named = (name: string): Binding => consumer({ name })
    expect(() => make({ bindings: [named('a'), named('a')] })).toThrow(
      'createBinder.bindings: expected a name of its own for each binding (option `name`), got "a"',
    )
    const members = [consumer({ group: 'g' }), consumer({ group: 'g', name: 'second' })]
    expect(() => make({ bindings: members })).toThrow('expected one consumer per channel and group in a process')
  })

  it.each([
    ['orders', 'placed.stock', 'orders.placed', 'stock', 'orders.placed.stock'],
    ['orders', 'stock.eu', 'eu.orders', 'stock', 'stock.eu.orders (a Kafka group)'],
  ])('%s with group %s beside %s with group %s: their names meet', (channelA, groupA, channelB, groupB, joined) => {
    const on = (name: string, group: string): Binding =>
      sink(defineChannel(name, { payload: z.string() }), { group, name: `${name}/${group}` }, () => {})
    expect(() => make({ bindings: [on(channelA, groupA), on(channelB, groupB)] })).toThrow(
      `expected names that do not read as those of "${channelA} / ${groupA}" when a dot joins them (${joined}); give another group, got "${channelB} / ${groupB}"`,
    )
  })

  it('two declarations of one channel that differ in partitions', () => {
    const again = defineChannel('orders', { payload: z.string(), partitions: 9 })
    expect(() => make({ bindings: [consumer({})], sends: [again] })).toThrow(
      'channel("orders").partitions: expected 4, as another declaration of the same name says, got 9',
    )
  })
})

it('a transport has one binder, for the binder closes it', async () => {
  const transport = memoryTransport()
  // A failed call has claimed nothing.
  expect(() => createBinder({ service: 'test', transport, maxInFlight: 0 })).toThrow(RangeError)
  const binder = createBinder({ service: 'test', instance: 'test-1', transport })
  expect(() => createBinder({ service: 'other', transport })).toThrow(
    'createBinder.transport: expected one of its own and not that of the binder "test-1", which closes it: make another',
  )
  await binder.close()
})

it('a wrong number is a RangeError, a wrong kind a TypeError', () => {
  expect(() => make({ maxInFlight: 0 })).toThrow(RangeError)
  expect(() => make({ maxInFlight: '5' })).toThrow(TypeError)
})

it('an unknown binding name is rejected with the list of names', () => {
  const binder = createBinder({ service: 'test', transport: memoryTransport(), bindings: [consumer({ group: 'g' })] })
  expect(() => binder.binding('order')).toThrow('binding: expected one of orders.g, got "order"')
})
