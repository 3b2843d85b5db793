import type { PrivateServer } from '../../support/servers/index.ts'
import type { Link } from '../harness/link.ts'
import type { Random } from '../harness/random.ts'
import type { BrokerAddress, Place } from './place.ts'

export interface Node {
  readonly server: PrivateServer
  /** Between clients and this node. */
  readonly link: Link
}

/** The nodes of a broker, or of a store of locks, as faults see them. */
export interface Ensemble {
  readonly nodes: readonly Node[]
  /** Address at which clients find the ensemble. */
  readonly address: { readonly broker: BrokerAddress } | Required<Pick<Place, 'redis'>>
  /** The node that leads most, at this moment. */
  leader(): Promise<Node>
  /** Resolves when every copy is in sync again: another node may fail. */
  whole(): Promise<void>
  /** Puts an empty node in the place of a killed one. */
  replace(node: Node): Promise<void>
  /** Between this node and the others; clients reach all of them. @returns ends it */
  cutOff(node: Node): Promise<() => Promise<void>>
  /** Takes permissions that the clients need from their user, in one of several ways. */
  takeRights(random: Random): Promise<Ended>
  /** Leaves this node no space for writes. */
  fill(node: Node): Promise<Ended>
  close(): Promise<void>
}

/** A fault that was played and can be undone. */
export interface Ended {
  readonly what: string
  /** Evidence, before its end, that the fault took effect. */
  seen(): Promise<string | undefined>
  end(): Promise<void>
}

export const nameOfNode = (ensemble: Ensemble, node: Node): string => `node ${ensemble.nodes.indexOf(node) + 1}`
