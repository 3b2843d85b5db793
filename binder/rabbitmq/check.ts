/**
 * `provision: 'check'`: compares what is declared with what exists and makes nothing. Each question has a channel of its
 * own, for a "no" closes it.
 *
 * Whether it is there is asked passively, which needs no rights. Only what is there is then declared again, which compares
 * arguments; a user who may not configure it learns no more than that it exists. Bindings can not be asked for in AMQP: a
 * missing one shows as `unroutable`.
 */
import { toError } from '../../core/errors.ts'
import type { DestinationSpec } from '../transport.ts'
import type { AmqpChannel } from './client.ts'
import { failure, replyCodeOf } from './failure.ts'
import type { ResolvedRabbitOptions } from './options.ts'
import { existingCount, markerOptions } from './provision.ts'
import { markerOf, queueOf } from './topology.ts'

/** Opens a channel for one question and closes it. @throws what the broker answered */
export type Ask = <T>(what: string, question: (channel: AmqpChannel) => Promise<T>) => Promise<T>

/** @throws TransportError `mismatch` naming everything that is missing or differs */
export async function checkDestinations(
  specs: readonly DestinationSpec[],
  options: Pick<ResolvedRabbitOptions, 'queueArguments'>,
  ask: Ask,
): Promise<void> {
  const faults: string[] = []
  for (const spec of specs) for (const fault of await faultsOf(spec, options, ask)) faults.push(fault)
  if (faults.length === 0) return
  throw failure(
    'mismatch',
    `${faults.join('; ')}. Make them as binder.describe() says, or use rabbitTransport({ provision: 'create' }).`,
    { destination: specs.length === 1 ? specs[0]?.name : undefined },
  )
}

async function faultsOf(
  { name, partitions, groups, assumed }: DestinationSpec,
  { queueArguments }: Pick<ResolvedRabbitOptions, 'queueArguments'>,
  ask: Ask,
): Promise<readonly string[]> {
  const exchange = await faultOf(`exchange "${name}"`, ask, {
    exists: (channel) => channel.checkExchange(name),
    same: (channel) => channel.assertExchange(name, 'direct', { durable: true }),
  })
  const marker = await faultOf(`exchange "${markerOf(name)}"`, ask, {
    exists: (channel) => channel.checkExchange(markerOf(name)),
    same: (channel) =>
      assumed === true
        ? Promise.resolve()
        : channel.assertExchange(markerOf(name), 'fanout', markerOptions(partitions)),
  })
  const faults = [exchange, marker]
  for (const group of groups) {
    for (let partition = 0; partition < partitions; partition++) {
      const queue = queueOf(name, group, partition, partitions)
      const declared = { durable: true, arguments: { ...queueArguments } }
      faults.push(
        await faultOf(`queue "${queue}"`, ask, {
          exists: (channel) => channel.checkQueue(queue),
          same: (channel) => channel.assertQueue(queue, declared),
        }),
      )
    }
  }
  return faults.filter((fault) => fault !== undefined)
}

interface Questions {
  readonly exists: (channel: AmqpChannel) => Promise<unknown>
  readonly same: (channel: AmqpChannel) => Promise<unknown>
}

/** What is wrong with it, `undefined` for nothing. @throws when the broker does not answer */
async function faultOf(what: string, ask: Ask, { exists, same }: Questions): Promise<string | undefined> {
  try {
    await ask(`look for ${what}`, exists)
    await ask(`compare ${what}`, same)
    return undefined
  } catch (cause) {
    const origin = toError(cause).cause ?? cause
    switch (replyCodeOf(origin)) {
      case 404:
        return `${what} is missing`
      case 403:
        return undefined
      case 406: {
        const existing = existingCount(origin)
        return existing === undefined
          ? `${what} differs: ${differenceIn(toError(origin).message)}`
          : `${what} says ${existing} partitions, another number is declared`
      }
      default:
        throw cause
    }
  }
}

/** `inequivalent arg 'x-queue-type' for queue ... received 'quorum' but current is 'classic'`. */
function differenceIn(text: string): string {
  return /PRECONDITION_FAILED - (.*?)"?$/.exec(text)?.[1] ?? text
}
