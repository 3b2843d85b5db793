/**
 * What a transport implements; `createBinder` is built on it. `test/conformance/transport.ts` in the repository holds it.
 *
 * @module
 */

export type {
  DestinationSpec,
  Displacement,
  Feature,
  GroupPlace,
  PublishOutcome,
  PublishUntil,
  Receiver,
  SettlingTransactions,
  Stall,
  Subscription,
  SubscriptionSpec,
  TopologyPart,
  Transport,
  TransportDelivery,
  TransportFeatures,
  TransportHealth,
  TransportHost,
} from './transport.ts'
