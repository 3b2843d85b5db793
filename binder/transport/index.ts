/**
 * What a transport implements; `createBinder` is built on it. `test/conformance/transport.ts` in the repository holds it.
 *
 * @module
 */

export type {
  DestinationSpec,
  PublishOutcome,
  Receiver,
  Subscription,
  SubscriptionSpec,
  Transport,
  TransportDelivery,
  TransportFeatures,
  TransportHost,
} from './transport.ts'
