/** The document as the official parser of AsyncAPI sees it. The parser brings 39 MB, so it is installed when this is run. */

import { type AsyncapiDocument, type AsyncapiOptions, asyncapi } from '@concordat/cli/asyncapi'
import { defineChannel } from 'concordat/binder'
import { describe, expect, test } from 'vitest'
import { z } from 'zod'
import { loadPeer } from '../../../bench/peers.ts'
import { CHANNELS } from '../../../examples/order-payment/contracts.ts'
import { installed, registerLack } from '../../support/suite/packages.ts'
import { shop } from '../support/shop.ts'

interface Parsing {
  readonly Parser: new () => {
    parse(text: string): Promise<{
      readonly diagnostics: ReadonlyArray<{
        readonly code: string | number
        readonly severity: number
        readonly path: ReadonlyArray<string | number>
        readonly message: string
      }>
    }>
  }
}

const info = { title: 'Shop', version: '1.2.0' }
const never = (): never => {
  throw new Error('nothing of it runs')
}
const write = (options: Partial<AsyncapiOptions> = {}): Promise<AsyncapiDocument> =>
  asyncapi({ services: shop, info, ...options })
const kafka = { production: { host: 'kafka.internal:9092', protocol: 'kafka-secure' } }
const folder = await installed('asyncapi-parser', { '@asyncapi/parser': '3.6.3' })

/** Takes its time when it is loaded. */
let loaded: Parsing['Parser'] | undefined
const parser = (): Parsing['Parser'] => (loaded ??= loadPeer<Parsing>(String(folder), '@asyncapi/parser').Parser)

/** Lists the complaints of the official parser, except that there is a newer version of AsyncAPI. */
async function faults(document: AsyncapiDocument): Promise<readonly string[]> {
  const { diagnostics } = await new (parser())().parse(JSON.stringify(document))
  return diagnostics
    .filter(({ code }) => code !== 'asyncapi-latest-version')
    .map(({ severity, path, message }) => `${severity} ${path.join('.')}: ${message}`)
}

describe('for the official parser, the document', { timeout: 180_000 }, () => {
  if (folder instanceof Error) return registerLack(folder)

  test.each([
    ['without servers', {}],
    ['on Kafka', { servers: kafka }],
    ['on RabbitMQ', { servers: { production: { host: 'rabbit.internal', protocol: 'amqps' } } }],
    ['on another broker', { servers: { production: { host: 'db.internal', protocol: 'postgres' } } }],
    ['without dead letters and retries', { internals: false }],
  ])('is valid for the official parser %s', async (_, options) => {
    expect(await faults(await write(options))).toEqual([])
  })

  test('the document of the channels of the example is valid', async () => {
    const document = await asyncapi({ services: [{ name: 'orders', sends: CHANNELS }], info })
    expect(Object.keys(document.channels)).toEqual(CHANNELS.map(({ name }) => name).toSorted())
    expect(await faults(document)).toEqual([])
  })

  test('a document that points at nothing is not valid: the parser looks', async () => {
    const { channels, ...rest } = await write()
    const { 'orders.paid': _, ...others } = channels
    expect(await faults({ ...rest, channels: others })).not.toEqual([])
  })

  test('is that of any library with Standard JSON Schema', async () => {
    const standard = {
      version: 1,
      vendor: 'other',
      validate: (value: unknown) => ({ value }),
      jsonSchema: { input: () => ({ type: 'string', $defs: { 'a b': {} }, $ref: '#/$defs/a b' }), output: never },
    } as const
    const channel = defineChannel('others', { payload: { '~standard': standard } })
    const document = await asyncapi({ services: [{ name: 'other', sends: [channel] }], info })
    expect(document.components.schemas).toMatchObject({ others: { $ref: '#/components/schemas/a_b' }, a_b: {} })
    expect(await faults(document)).toEqual([])
  })

  test.each(['100%', '%2F', 'a/b', 'a~b', '__proto__', '<b>'])('parts may have the name %s', async (id) => {
    const part = z.object({ a: z.string() }).meta({ id })
    const channel = defineChannel('one', { payload: z.object({ first: part, second: part }) })
    const document = await asyncapi({ services: [{ name: 'a', sends: [channel] }], info })
    const { properties } = document.components.schemas['one'] as { properties: { first: { $ref: string } } }
    const name = properties.first.$ref.replace('#/components/schemas/', '')
    expect(Object.hasOwn(document.components.schemas, name)).toBe(true)
    expect(document.components.schemas[name]).toMatchObject({ properties: { a: { type: 'string' } } })
  })
})
