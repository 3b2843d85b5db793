/** Makes a binding with `settlesIn` one that has an inbox made of its places. */
import { wrongKind } from '../../core/options.ts'
import { requireSqlClient } from '../../core/sql.ts'
import type { ConsumerBinding } from '../bindings/declarations.ts'
import type { ConsumerHost } from '../consuming/handlings.ts'
import { PlaceInbox } from '../consuming/place-inbox.ts'
import { CannotSettleIn } from '../errors.ts'

/** @throws CannotSettleIn, TypeError naming the binding */
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
  const settling = transport.settlingIn?.(sql)
  if (transport.settlingIn === undefined || transport.publishIn === undefined)
    throw new CannotSettleIn(path, name, 'transport', transport.name)
  if (settling === undefined) throw new CannotSettleIn(path, name, 'database', transport.name)
  if (binding.input.transactional !== true) throw new CannotSettleIn(path, name, 'channel', transport.name)
  const inbox = new PlaceInbox({
    clock,
    settling,
    publishIn: async (tx, messages) =>
      transport.publishIn?.(tx, messages, (destination) => destinations.spec(destination)),
  })
  return Object.freeze({ ...binding, options: Object.freeze({ ...options, inbox }) })
}
