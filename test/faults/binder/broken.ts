/** The mistakes that can be built in (`--broken`), wrapped around a transport: the library has no switch for them. */

import type { SqlClient } from 'concordat/core'
import type { Receiver, Transport, TransportDelivery } from 'concordat/extension'
import type { SettlingTransactions } from '../../support/inside/binder.ts'

export function withMistake(transport: Transport, mistake: string | undefined): Transport {
  switch (mistake) {
    case 'settles-first':
      return onDelivery(transport, (delivery, receiver) => {
        delivery.ack()
        receiver.deliver(delivery)
      })
    case 'forgets-keys':
      return onDelivery(transport, (delivery, receiver) => receiver.deliver(withoutKey(delivery)))
    case 'forgets-delays':
      return changed(transport, 'publish', (...[messages, until]: Parameters<Transport['publish']>) =>
        transport.publish(
          messages.map((message) => ({ ...message, notBefore: undefined })),
          until,
        ),
      )
    case 'confirms-first':
      return changed(transport, 'publish', (...[messages, until]: Parameters<Transport['publish']>) => {
        void transport.publish(messages, until)
        return Promise.resolve(messages.map(() => undefined))
      })
    case 'settles-apart':
      return changed(transport, 'settlingIn', (sql?: SqlClient): SettlingTransactions | undefined => {
        const settling = transport.settlingIn?.(sql)
        const apart = transport.settlingIn?.()
        if (settling === undefined || apart === undefined) return undefined
        return {
          sql: settling.sql,
          settle: (_, deliveries) => apart.sql.transaction((own) => apart.settle(own, deliveries)),
        }
      })
    default:
      return transport
  }
}

function onDelivery(transport: Transport, deliver: (delivery: TransportDelivery, receiver: Receiver) => void) {
  const subscribe: Transport['subscribe'] = (spec, receiver) =>
    transport.subscribe(spec, {
      deliver: (delivery) => deliver(delivery, receiver),
      recall: () => receiver.recall(),
      lost: (error) => receiver.lost(error),
    })
  return changed(transport, 'subscribe', subscribe)
}

function withoutKey(delivery: TransportDelivery): TransportDelivery {
  return changed(delivery, 'message', { ...delivery.message, key: null })
}

function changed<T extends object>(thing: T, name: keyof T, value: unknown): T {
  return new Proxy(thing, {
    get(target, property) {
      if (property === name) return value
      const own: unknown = Reflect.get(target, property, target)
      return typeof own === 'function' ? (own as () => unknown).bind(target) : own
    },
  })
}
