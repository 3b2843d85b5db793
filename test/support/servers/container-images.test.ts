import { readFileSync } from 'node:fs'
import { describe, expect, test } from 'vitest'
import { parse } from 'yaml'
import { engineHost, images } from './container-images.ts'
import { serverKinds } from './kinds.ts'

interface Compose {
  readonly services: Readonly<Record<string, { readonly image: string; readonly ports?: readonly string[] }>>
}

const compose = parse(readFileSync('compose.yaml', 'utf8')) as Compose

describe('where the containers of the tests are reached', () => {
  test.each(['localhost', '127.0.0.1', '::1'])('an engine at %s publishes on this machine alone', (host) => {
    expect(engineHost(host)).toEqual({ name: '127.0.0.1', publishedOn: '127.0.0.1' })
  })

  test('a job in a container beside the engine reaches them at the gateway, and no other host does', () => {
    expect(engineHost('172.17.0.1')).toEqual({ name: '172.17.0.1', publishedOn: '172.17.0.1' })
  })

  test('an engine on another machine publishes on all of its addresses: which one the name means is not known', () => {
    expect(engineHost('builder.example')).toEqual({ name: 'builder.example', publishedOn: '0.0.0.0' })
  })

  test('Kafka sends its clients to the address that they were given', () => {
    const host = engineHost('172.17.0.1')
    const { kafka } = images
    expect(kafka.environment?.(host, 20_000)['KAFKA_ADVERTISED_LISTENERS']).toBe(
      `PLAINTEXT://${kafka.url(host.name, 20_000)}`,
    )
  })
})

test.each(serverKinds)('the tests and compose.yaml run the same image of %s', (kind) => {
  expect(compose.services[kind]?.image).toBe(images[kind].name)
  const { port } = images[kind]
  expect(compose.services[kind]?.ports).toEqual([`127.0.0.1:${port}:${port}`])
})
