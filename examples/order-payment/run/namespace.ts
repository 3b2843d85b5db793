/**
 * Wraps a transport and adds a prefix to all names, so that several runs can share a broker. The transport contract
 * makes this possible in one short file, without a change to services or channels.
 */
import type { EncodedMessage } from 'concordat/binder'
import type { Transport, TransportDelivery } from 'concordat/extension'

export function namespaced(inner: Transport, prefix: string): Transport {
  const outside = (name: string): string => prefix + name
  return {
    name: inner.name,
    features: inner.features,
    publishConcurrency: inner.publishConcurrency,
    isolatesDestinations: inner.isolatesDestinations,
    attach: (host) => inner.attach(host),
    health: () => inner.health(),
    close: () => inner.close(),
    provision: (specs) => inner.provision(specs.map((spec) => ({ ...spec, name: outside(spec.name) }))),
    publish: (messages, until) =>
      inner.publish(
        messages.map((message) => withDestination(message, outside(message.destination))),
        until,
      ),
    subscribe: (spec, receiver) =>
      inner.subscribe(
        { ...spec, destination: outside(spec.destination) },
        {
          deliver: (delivery) => receiver.deliver(inside(delivery, prefix)),
          recall: () => receiver.recall(),
          lost: (error) => receiver.lost(error),
        },
      ),
  }
}

function withDestination(message: EncodedMessage, destination: string): EncodedMessage {
  return { ...message, destination }
}

function inside(delivery: TransportDelivery, prefix: string): TransportDelivery {
  const { message } = delivery
  return {
    message: withDestination(message, message.destination.slice(prefix.length)),
    position: delivery.position,
    redelivered: delivery.redelivered,
    get signal() {
      return delivery.signal
    },
    ack: () => delivery.ack(),
    release: () => delivery.release(),
  }
}
