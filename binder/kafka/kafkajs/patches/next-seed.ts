/**
 * kafkajs begins with the first of the addresses each time something connects, and stays with it when that takes the connection and
 * does not answer: a broker that stands still, or one that is dead behind a proxy. While it does, nothing connects, though all other
 * brokers are there. So what is made after a connect that failed begins with the next address.
 */
import type { KafkaClient } from '../client-types.ts'
import { interceptClusters } from './intercept-clusters.ts'

/** Lists of up to six are gone through evenly. */
const MOST_SKIPPED = 60

const failures = new WeakMap<object, number>()

/** Something of this client did not connect. */
export function seedFailed(client: KafkaClient): void {
  failures.set(client, ((failures.get(client) ?? 0) + 1) % MOST_SKIPPED)
}

/** Makes a client that begins with an address that did not fail last. */
export function atNextSeed<T>(client: KafkaClient, make: () => T): T {
  const skipped = failures.get(client) ?? 0
  if (skipped === 0) return make()
  const look = ({ connectionPoolBuilder: builder }: Partial<SeededCluster>): void => {
    if (builder !== undefined) skip(builder, skipped)
  }
  return interceptClusters(client, look, make)
}

interface SeededCluster {
  readonly connectionPoolBuilder: SeedBuilder
}

interface SeedBuilder {
  /** Without a host: for the next of the addresses. It connects later. */
  build(address?: { readonly host?: string }): Promise<unknown>
}

function skip(builder: SeedBuilder, count: number): void {
  const build = builder.build.bind(builder)
  let left = count
  builder.build = async (address) => {
    for (; address?.host === undefined && left > 0; left--) await build()
    return build(address)
  }
}
