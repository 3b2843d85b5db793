/** Makes a binding with `settlesIn` one that has an inbox made of its places. */
import { wrongKind } from '../../core/options.ts'
import { requireSqlClient } from '../../core/sql.ts'
import type { ConsumerBinding } from '../bindings/declarations.ts'
import { inboxBeside } from '../bindings/of-service.ts'
import type { ConsumerHost } from '../consuming/handlings.ts'
import { PlaceInbox } from '../consuming/place-inbox.ts'
import { BinderError, TransportError } from '../errors.ts'
import type { Transport } from '../transport/transport.ts'

/** @throws `binder.cannot_settle_in`, TypeError naming the binding */
export function withPlaceInbox(
  binding: ConsumerBinding,
  { transport, destinations, clock }: Pick<ConsumerHost, 'transport' | 'destinations' | 'clock'>,
): ConsumerBinding {
  const { settlesIn, ...options } = binding.options
  if (settlesIn === undefined) return binding
  const path = `${binding.kind}("${binding.input.name}").settlesIn`
  if (binding.options.inbox !== undefined) throw wrongKind(path, settlesIn, 'either settlesIn or an inbox')
  if (binding.kind === 'processor' && binding.answer !== undefined)
    throw wrongKind(path, settlesIn, 'none for a responder: requests are sent outside of transactions')
  const sql = requireSqlClient(path, settlesIn)
  const { name } = binding.input
  const own = transport.ownerOf?.(name) ?? transport
  const settling = own.settlingIn?.(sql)
  if (own.settlingIn === undefined || own.publishIn === undefined)
    throw new BinderError('binder.cannot_settle_in', { path, channel: name, why: 'transport', transport: own.name })
  if (settling === undefined)
    throw new BinderError('binder.cannot_settle_in', { path, channel: name, why: 'database', transport: own.name })
  if (binding.input.transactional !== true)
    throw new BinderError('binder.cannot_settle_in', { path, channel: name, why: 'channel', transport: own.name })
  requireHere(binding, own, transport, path)
  const inbox = new PlaceInbox({
    clock,
    settling,
    inboxBeside: inboxBeside(binding),
    publishIn: async (tx, messages) => {
      for (const { destination } of messages)
        if (liesElsewhere(destination, own, transport)) throw elsewhere(path, own, destination)
      await own.publishIn?.(tx, messages, (destination) => destinations.spec(destination))
    },
  })
  return Object.freeze({ ...binding, options: Object.freeze({ ...options, inbox }) })
}

/** @throws `binder.cannot_settle_in` for a processor whose output no transaction of its input holds */
function requireHere(binding: ConsumerBinding, own: Transport, transport: Transport, path: string): void {
  const others = binding.kind === 'processor' ? (binding.outputs ?? []) : []
  const outputs = [binding.output, ...others].filter((output) => output !== undefined)
  if (outputs.some(({ name }) => liesElsewhere(name, own, transport)))
    throw new BinderError('binder.cannot_settle_in', {
      path,
      channel: binding.input.name,
      why: 'output',
      transport: own.name,
    })
}

const liesElsewhere = (destination: string, own: Transport, transport: Transport): boolean =>
  (transport.ownerOf?.(destination) ?? own) !== own

/** For a destination that is named at run time: the transaction rolls back, the message counts as failed. */
function elsewhere(path: string, { name }: Transport, destination: string): TransportError {
  const message = `${path}: "${destination}" lies on another transport than the input, which is on ${name}: use an inbox`
  return new TransportError({ transport: name, kind: 'mismatch', destination, message })
}
