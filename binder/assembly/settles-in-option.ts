/**
 * Replaces the option `settlesIn` of a binding by an inbox that stores no message ids, but writes the group's position in the log
 * in the handler's transaction. Checks first that the transport's log is in that database.
 */
import { wrongKind } from '../../core/option-checks.ts'
import { requireSqlClient, type SqlClient, type SqlTransaction } from '../../core/sql.ts'
import type { ConsumerBinding } from '../bindings/declarations.ts'
import type { EncodedMessage } from '../channel/message.ts'
import { PositionInbox } from '../consuming/position-inbox.ts'
import type { ConsumerHost } from '../consuming/run-handling.ts'
import { BinderError, type BinderErrors, TransportError } from '../errors.ts'
import type { SettlingTransactions, Transport } from '../transport/transport.ts'

type Host = Pick<ConsumerHost, 'transport' | 'destinations' | 'clock'>

/** @throws `binder.cannot_settle_in`, TypeError naming the binding */
export function withPlaceInbox(binding: ConsumerBinding, host: Host): ConsumerBinding {
  const { settlesIn, inbox, ...options } = binding.options
  if (settlesIn === undefined) return binding
  const path = `${binding.kind}("${binding.input.name}").settlesIn`
  if (inbox !== undefined) throw wrongKind(path, settlesIn, 'either settlesIn or an inbox')
  if (binding.kind === 'processor' && binding.answer !== undefined)
    throw wrongKind(path, settlesIn, 'none for a responder: requests are sent outside of transactions')
  const found = settlingOf(binding, requireSqlClient(path, settlesIn), host.transport)
  if ('why' in found) throw new BinderError('binder.cannot_settle_in', { path, channel: binding.input.name, ...found })
  return Object.freeze({
    ...binding,
    options: Object.freeze({ ...options, inbox: placeInbox(found, host, path) }),
  })
}

/** Where a binding settles. */
interface Found {
  readonly own: Transport
  readonly settling: SettlingTransactions
}

/** Returns the transactions of `sql` that settle the binding's messages, or the reason why there are none. */
function settlingOf(
  binding: ConsumerBinding,
  sql: SqlClient,
  transport: Transport,
): Found | Pick<BinderErrors['binder.cannot_settle_in'], 'why' | 'transport'> {
  const own = transport.ownerOf?.(binding.input.name) ?? transport
  if (own.settlingIn === undefined || own.publishIn === undefined) return { why: 'transport', transport: own.name }
  const settling = own.settlingIn(sql)
  if (settling === undefined) return { why: 'database', transport: own.name }
  if (binding.input.transactional !== true) return { why: 'channel', transport: own.name }
  const others = binding.kind === 'processor' ? (binding.outputs ?? []) : []
  const outputs = [binding.output, ...others].filter((output) => output !== undefined)
  if (outputs.some(({ name }) => liesElsewhere(name, own, transport))) return { why: 'output', transport: own.name }
  return { own, settling }
}

function placeInbox({ own, settling }: Found, { transport, destinations, clock }: Host, path: string): PositionInbox {
  const publishIn = async (tx: SqlTransaction, messages: readonly EncodedMessage[]): Promise<void> => {
    for (const { destination } of messages)
      if (liesElsewhere(destination, own, transport)) throw elsewhere(path, own, destination)
    await own.publishIn?.(tx, messages, (destination) => destinations.spec(destination))
  }
  return new PositionInbox(settling, publishIn, clock)
}

const liesElsewhere = (destination: string, own: Transport, transport: Transport): boolean =>
  (transport.ownerOf?.(destination) ?? own) !== own

/** For a destination named at run time: the transaction rolls back, and the message counts as failed. */
function elsewhere(path: string, { name }: Transport, destination: string): TransportError {
  const message =
    `${path}: "${destination}" lies on another transport than the input, which is on ${name}: send it with ` +
    'outbox.add(tx, ...), or use an inbox'
  return new TransportError({ transport: name, kind: 'mismatch', destination, message })
}
