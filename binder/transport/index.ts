/** What a transport implements; `createBinder` is built on it. `test/conformance/transport.ts` in the repository holds it. */

export type {
  DestinationSpec,
  Feature,
  GroupPlace,
  Hindrance,
  PublishOutcome,
  Receiver,
  Subscription,
  SubscriptionSpec,
  TopologyPart,
  Transport,
  TransportDelivery,
  TransportFeatures,
  TransportHealth,
  TransportHost,
} from './transport.ts'
